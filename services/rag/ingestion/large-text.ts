import { createHash, type Hash } from "node:crypto";
import { cutWindows, type Window } from "../chunking/windows.js";
import { chunkLimits } from "../cutting/cut-document.js";
import { csvRows } from "../extraction/csv.js";
import { charsetOf, encodingMetadata } from "../extraction/extract.js";
import { assertNotEmpty } from "../extraction/extracted.js";
import { jsonLines } from "../extraction/json.js";
import { extractMarkdown } from "../extraction/markdown.js";
import { decodeTextStream } from "../extraction/text-stream.js";
import type { ChunkRun, DocumentHead, JobDocument, JobLease, RagStore, StoredWindow, WindowedDocument } from "../store/store.js";
import type { IndexingTools } from "./index-batch.js";
import { indexChunks } from "./index-batch.js";
import { givenOf, type PrepareOptions, type Unchanged, unchanged } from "./prepare-document.js";
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

export interface LargeTextOptions extends PrepareOptions {
  readonly store: RagStore;
  readonly lease: JobLease;
  readonly tools: IndexingTools;
  /** One of STREAMED_TYPES. */
  readonly mimeType: string;
  /** Opens the document's bytes, from the start each time. */
  readonly open: () => AsyncIterable<Uint8Array>;
  /** Runs a call to the store, again if it fails. */
  readonly retry: <T>(work: () => Promise<T>) => Promise<T>;
}

/** Windows that an earlier worker stored are not those of the document as it is now. */
class WindowChangedError extends Error {
  override name = "WindowChangedError";
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
  for (;;) {
    try {
      const stored = await options.retry(() => options.store.windows(options.lease.jobId, document.ordinal));
      return { kind: "windowed", document: await new LargeText(document, options, stored).store() };
    } catch (error) {
      if (!(error instanceof WindowChangedError)) throw error;
      await options.retry(() => options.store.dropWindows(options.lease, document.ordinal));
    }
  }
}

class LargeText {
  readonly #document: JobDocument;
  readonly #options: LargeTextOptions;
  readonly #stored: readonly StoredWindow[];
  readonly #runs: ChunkRun[] = [];
  #title = "";
  #foundMetadata: DocumentHead["foundMetadata"] = {};
  /** Characters of front matter, which is no text. */
  #skipped = 0;
  #chunks = 0;
  #textBytes = 0;

  constructor(document: JobDocument, options: LargeTextOptions, stored: readonly StoredWindow[]) {
    this.#document = document;
    this.#options = options;
    this.#stored = stored;
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
    if (this.#stored.some(({ run }) => !this.#runs.some(({ first }) => first === run.first))) throw new WindowChangedError();
    if (this.#chunks === 0) assertNotEmpty("");
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
      runs: this.#runs,
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
    const { settings, store, lease, tools, cutter, signal, retry, onPhase } = this.#options;
    const bytes = Buffer.byteLength(window.text);
    this.#textBytes += bytes;
    const hash = createHash("sha256").update(window.text).digest("hex");
    const stored = this.#stored.find(({ number }) => number === window.number);
    if (stored !== undefined) {
      if (stored.hash !== hash) throw new WindowChangedError();
      return this.#add(stored.run);
    }
    onPhase("CHUNKING");
    const chunks = await cutter.window({ window, structure, limits: chunkLimits(settings) }, signal);
    if (chunks.length === 0) return;
    const firstChunkId = await retry(() => store.reserveChunkIds(lease.collection, chunks.length));
    onPhase("EMBEDDING");
    const { vectors, segment } = await retry(() => indexChunks(chunks, firstChunkId, tools, signal));
    onPhase("INDEXING");
    const place = { ordinal: this.#document.ordinal, number: window.number, firstOrdinal: this.#chunks };
    const documentKey = this.#runs[0]?.first ?? firstChunkId;
    await retry(() => store.addWindow(lease, { ...place, hash, bytes, documentKey, firstChunkId, chunks, vectors, segment }));
    this.#add({ first: firstChunkId, count: chunks.length });
  }

  #add(run: ChunkRun): void {
    this.#runs.push(run);
    this.#chunks += run.count;
  }
}

async function* hashed(bytes: AsyncIterable<Uint8Array>, hash: Hash, onBytes: (count: number) => void): AsyncGenerator<Uint8Array> {
  for await (const part of bytes) {
    hash.update(part);
    onBytes(part.length);
    yield part;
  }
}
