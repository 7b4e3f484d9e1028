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

/** A document that was read and cut. */
export interface CutText {
  readonly title: string;
  readonly mimeType: string;
  readonly foundMetadata: JsonObject;
  /** UTF-8 bytes of the extracted text. */
  readonly textBytes: number;
  readonly chunks: readonly NewChunk[];
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
    chunks,
  };
}

/** Cuts a part of a large text. */
export async function cutWindow({ window, structure, limits }: WindowToCut): Promise<readonly NewChunk[]> {
  return chunkWindow(window, { ...(await chunkingBy(limits)), structure }).map(storableChunk);
}

function storableChunk({ start, end, text, headingPath }: Chunk): NewChunk {
  return { start, end, text: storableText(text), headingPath: headingPath.map(storableText) };
}
