import { createHash, type Hash } from "node:crypto";
import { chunkLimits } from "../cutting/cut-document.js";
import { cutWindows, type Window } from "../chunking/windows.js";
import { csvRows } from "../extraction/csv.js";
import { charsetOf, encodingMetadata } from "../extraction/extract.js";
import { assertNotEmpty } from "../extraction/extracted.js";
import { jsonLines } from "../extraction/json.js";
import { extractMarkdown } from "../extraction/markdown.js";
import { decodeTextStream } from "../extraction/text-stream.js";
import type { DocumentHead, JobDocument, WindowedDocument } from "../store/store.js";
import { type DocumentWindows, withWindows, type WindowOptions } from "./document-windows.js";
import { givenOf, type Unchanged, unchanged } from "./prepare-document.js";
import { storableJson, storableText } from "../store/stored-json.js";

/** Texts above this are stored window by window, in bytes. */
export const LARGE_TEXT_BYTES = 4 * 1024 * 1024;

/** The types whose documents can be read without holding all of them, and how their text is made of the characters of the file. */
export const STREAMED_TYPES: ReadonlyMap<string, (pieces: AsyncGenerator<string>) => AsyncGenerator<string>> = new Map([
  ["text/plain", (pieces) => pieces],
  ["text/markdown", (pieces) => pieces],
  ["text/csv", csvRows],
  ["application/x-ndjson", jsonLines],
]);

export interface LargeTextOptions extends WindowOptions {
  /** One of STREAMED_TYPES. */
  readonly mimeType: string;
  /** Opens the document's bytes, from the start each time. */
  readonly open: () => AsyncIterable<Uint8Array>;
}

/**
 * Stores a text of any size with the memory of a few windows. Windows that a worker stored before it died are not embedded again.
 * Throws ExtractionError.
 */
export async function storeLargeText(document: JobDocument, options: LargeTextOptions): Promise<Unchanged | { kind: "windowed"; document: WindowedDocument }> {
  if (options.version !== undefined) {
    const hash = createHash("sha256");
    for await (const part of options.open()) hash.update(part);
    const same = unchanged(document, hash.digest("hex"), options);
    if (same !== undefined) return same;
  }
  return withWindows(document, options, async (windows) => ({ kind: "windowed", document: await new LargeText(document, options, windows).store() }));
}

class LargeText {
  readonly #document: JobDocument;
  readonly #options: LargeTextOptions;
  readonly #windows: DocumentWindows;
  #title = "";
  #foundMetadata: DocumentHead["foundMetadata"] = {};
  /** Characters of front matter, which is no text. */
  #skipped = 0;
  #textBytes = 0;

  constructor(document: JobDocument, options: LargeTextOptions, windows: DocumentWindows) {
    this.#document = document;
    this.#options = options;
    this.#windows = windows;
  }

  async store(): Promise<WindowedDocument> {
    const { mimeType, open, signal, onPhase, ofAll } = this.#options;
    const structure = mimeType === "text/markdown" ? "markdown" : "plain";
    const hash = createHash("sha256");
    let sizeBytes = 0;
    onPhase("PARSING");
    const bytes = hashed(open(), hash, (count) => (sizeBytes += count));
    let encoding = "";
    const decoded = decodeTextStream(bytes, { declared: charsetOf(this.#document.mimeType), onEncoding: (found) => (encoding = found) });
    const pieces = STREAMED_TYPES.get(mimeType)!(decoded);
    for await (const window of cutWindows(pieces, structure)) {
      signal.throwIfAborted();
      await this.#storeWindow(structure === "markdown" ? this.#withoutFrontMatter(window) : window, structure);
    }
    if (this.#windows.chunkCount === 0) assertNotEmpty("");
    return {
      ordinal: this.#document.ordinal,
      id: this.#document.documentId,
      source: this.#document.source,
      title: storableText(this.#title),
      mimeType,
      foundMetadata: { ...this.#foundMetadata, ...encodingMetadata(encoding) },
      ...givenOf(this.#document, ofAll),
      contentHash: hash.digest("hex"),
      sizeBytes,
      textBytes: this.#textBytes,
      runs: this.#windows.runs,
    };
  }

  #withoutFrontMatter(window: Window): Window {
    if (window.number > 0 || !/\S/.test(window.text)) return { ...window, start: window.start - this.#skipped };
    const { text, title, metadata } = extractMarkdown(window.text);
    this.#title = title ?? "";
    this.#foundMetadata = storableJson(metadata as DocumentHead["foundMetadata"]);
    this.#skipped = window.text.length - text.length;
    return { ...window, text };
  }

  async #storeWindow(window: Window, structure: "markdown" | "plain"): Promise<void> {
    const { settings, cutter, signal } = this.#options;
    this.#textBytes += Buffer.byteLength(window.text);
    await this.#windows.write(window.number, window.text, () => cutter.window({ window, structure, limits: chunkLimits(settings) }, signal));
  }
}

async function* hashed(bytes: AsyncIterable<Uint8Array>, hash: Hash, onBytes: (count: number) => void): AsyncGenerator<Uint8Array> {
  for await (const part of bytes) {
    hash.update(part);
    onBytes(part.length);
    yield part;
  }
}
