import type { JsonObject } from "@bufbuild/protobuf";
import { loadTokenizer } from "../../../runtime/embedding/tokenizer.js";
import { type Chunk, type ChunkingOptions, chunkText } from "../chunking/chunker.js";
import { chunkWindow, type Window } from "../chunking/windows.js";
import { extract } from "../extraction/extract.js";
import type { CollectionSettings, NewChunk } from "../store/store.js";
import { storableJson, storableText } from "../store/stored-json.js";

/** How large chunks are, in a form that threads can be told. */
export interface ChunkLimits extends Pick<ChunkingOptions, "size" | "overlap"> {
  readonly unit: CollectionSettings["chunkUnit"];
}

/** What a collection's chunks are limited to. */
export function chunkLimits({ chunkUnit: unit, chunkSize: size, chunkOverlap: overlap }: CollectionSettings): ChunkLimits {
  return { unit, size, overlap };
}

async function chunkingBy({ unit, size, overlap }: ChunkLimits): Promise<Pick<ChunkingOptions, "size" | "overlap" | "countTokens">> {
  if (unit === "characters") return { size, overlap };
  const tokenizer = await loadTokenizer();
  return { size, overlap, countTokens: (text) => tokenizer.encode(text).length };
}

/** A document's bytes, and what is said of them. */
export interface WholeDocument {
  readonly content: Uint8Array;
  readonly name: string;
  /** Empty when it is to be found out. */
  readonly mimeType: string;
  readonly limits: ChunkLimits;
}

/** Documents of more chunks are stored window by window: one transaction, and one turn of the event loop, would be too long. */
const LARGE_DOCUMENT_CHUNKS = 4_000;
const WINDOW_CHUNKS = 1_000;

/** A document that was read and cut. */
export interface CutText {
  readonly title: string;
  readonly mimeType: string;
  readonly foundMetadata: JsonObject;
  /** UTF-8 bytes of the extracted text. */
  readonly textBytes: number;
  /** In the order of the text; none of a large document. */
  readonly chunks: readonly NewChunk[];
  /**
   * The chunks of a large document, none of another, for unpackWindow: from a thread, a hundred thousand objects would come in one
   * turn of the event loop, of seconds.
   */
  readonly windows: readonly Uint8Array<ArrayBuffer>[];
}

export interface WindowToCut {
  readonly window: Window;
  readonly structure: ChunkingOptions["structure"];
  readonly limits: ChunkLimits;
}

/** Reads a document and cuts it into chunks that PostgreSQL takes. Throws ExtractionError. */
export async function cutDocument({ content, name, mimeType: given, limits }: WholeDocument, signal?: AbortSignal): Promise<CutText> {
  const { text, title, structure, sections = [], mimeType, metadata } = await extract({ content, name, mimeType: given }, signal);
  // Pages are no headings: a sentence may go on over them.
  const titled = sections.filter(({ path }) => path.length > 0);
  const chunks = chunkText(text, { ...(await chunkingBy(limits)), structure, sections: titled }).map((chunk) => ({
    ...storableChunk(chunk),
    page: sections.findLast(({ start }) => start <= chunk.start)?.page,
  }));
  return {
    title: storableText(title ?? ""),
    mimeType,
    foundMetadata: storableJson(metadata as JsonObject),
    textBytes: Buffer.byteLength(text),
    ...(chunks.length > LARGE_DOCUMENT_CHUNKS ? { chunks: [], windows: packWindows(chunks) } : { chunks, windows: [] }),
  };
}

function packWindows(chunks: readonly NewChunk[]): Uint8Array<ArrayBuffer>[] {
  const encoder = new TextEncoder();
  const windows = [];
  for (let at = 0; at < chunks.length; at += WINDOW_CHUNKS) windows.push(encoder.encode(JSON.stringify(chunks.slice(at, at + WINDOW_CHUNKS))));
  return windows;
}

/** The chunks of a window of a large document. */
export function unpackWindow(window: Uint8Array): NewChunk[] {
  return JSON.parse(Buffer.from(window.buffer, window.byteOffset, window.length).toString()) as NewChunk[];
}

/** Cuts a part of a large text. */
export async function cutWindow({ window, structure, limits }: WindowToCut): Promise<readonly NewChunk[]> {
  return chunkWindow(window, { ...(await chunkingBy(limits)), structure }).map(storableChunk);
}

function storableChunk({ start, end, text, headingPath }: Chunk): NewChunk {
  return { start, end, text: storableText(text), headingPath: headingPath.map(storableText) };
}
