import type { JsonObject } from "@bufbuild/protobuf";
import { type Chunk, type ChunkingOptions, chunkText } from "../chunking/chunker.js";
import { chunkWindow, type Window } from "../chunking/windows.js";
import { extract } from "../extraction/extract.js";
import type { NewChunk } from "../store/store.js";
import { storableJson, storableText } from "../store/stored-json.js";

export type ChunkLimits = Pick<ChunkingOptions, "size" | "overlap">;

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
  const chunks = chunkText(text, { ...limits, structure, sections: titled }).map((chunk) => ({
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
export function cutWindow({ window, structure, limits }: WindowToCut): readonly NewChunk[] {
  return chunkWindow(window, { ...limits, structure }).map(storableChunk);
}

function storableChunk({ start, end, text, headingPath }: Chunk): NewChunk {
  return { start, end, text: storableText(text), headingPath: headingPath.map(storableText) };
}
