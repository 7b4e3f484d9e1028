import { isDeepStrictEqual } from "node:util";
import type { JsonObject } from "@bufbuild/protobuf";
import { chunkText } from "../chunking/chunker.js";
import { extract } from "../extraction/extract.js";
import type { CollectionSettings, DocumentVersion, JobDocument, JobPhase, NewChunk, NewDocument, NewJob } from "../store/store.js";
import { storableJson, storableText } from "./stored-json.js";

/** A document that was read and cut: all that a batch needs but vectors and chunk ids. */
export type CutDocument = Omit<NewDocument, "firstChunkId" | "vectors">;

/** What callers say of a document. */
export interface Given {
  readonly givenMetadata: JsonObject;
  /** Sorted, each once. */
  readonly readers: readonly string[];
}

/** A document whose bytes are as they were. */
export type Unchanged =
  | { readonly kind: "unchanged" }
  /** What the caller says of it is not as it was. */
  | { readonly kind: "metadata"; readonly given: Given };

export type Prepared = Unchanged | { readonly kind: "cut"; readonly document: CutDocument };

export interface PrepareOptions {
  readonly settings: CollectionSettings;
  /** What is in the collection under the document's id. */
  readonly version: DocumentVersion | undefined;
  /** What was said of all documents of the job. */
  readonly ofAll: Pick<NewJob, "metadata" | "readers">;
  readonly signal: AbortSignal;
  readonly onPhase: (phase: JobPhase) => void;
}

/** Whether the document has to be read again: undefined if so. */
export function unchanged(document: JobDocument, hash: string, { version, ofAll }: PrepareOptions): Unchanged | undefined {
  if (version === undefined || version.contentHash !== hash) return undefined;
  if (document.mimeType !== "" && document.mimeType !== version.mimeType) return undefined;
  const given = givenOf(document, ofAll);
  const { givenMetadata, readers } = version;
  return isDeepStrictEqual(given, { givenMetadata, readers }) ? { kind: "unchanged" } : { kind: "metadata", given };
}

/** Reads a document that is in memory and cuts it into chunks. Throws ExtractionError. */
export async function prepareDocument(
  document: JobDocument,
  { content, hash }: { content: Uint8Array; hash: string },
  options: PrepareOptions,
): Promise<Prepared> {
  const same = unchanged(document, hash, options);
  if (same !== undefined) return same;
  options.onPhase("PARSING");
  const { text, title, structure, sections = [], mimeType, metadata } = await extract(
    { content, name: document.documentId, mimeType: document.mimeType },
    options.signal,
  );
  options.onPhase("CHUNKING");
  const { chunkSize: size, chunkOverlap: overlap } = options.settings;
  // Pages are no headings: a sentence may go on over them.
  const titled = sections.filter(({ path }) => path.length > 0);
  const chunks = chunkText(text, { size, overlap, structure, sections: titled }).map((chunk) => ({
    ...storableChunk(chunk),
    page: sections.findLast(({ start }) => start <= chunk.start)?.page,
  }));
  return {
    kind: "cut",
    document: {
      ordinal: document.ordinal,
      id: document.documentId,
      source: document.source,
      title: storableText(title ?? ""),
      mimeType,
      foundMetadata: storableJson(metadata as JsonObject),
      ...givenOf(document, options.ofAll),
      contentHash: hash,
      sizeBytes: content.length,
      textBytes: Buffer.byteLength(text),
      chunks,
    },
  };
}

/** What was said of a document alone, above what was said of all. */
export function givenOf(document: JobDocument, ofAll: Pick<NewJob, "metadata" | "readers">): Given {
  const readers = document.readers.length > 0 ? document.readers : ofAll.readers;
  return { givenMetadata: storableJson({ ...ofAll.metadata, ...document.metadata }), readers: [...new Set(readers)].sort() };
}

/** A chunk as PostgreSQL takes it. */
export function storableChunk({ start, end, text, headingPath }: NewChunk): NewChunk {
  return { start, end, text: storableText(text), headingPath: headingPath.map(storableText) };
}
