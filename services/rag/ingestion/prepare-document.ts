import { isDeepStrictEqual } from "node:util";
import type { JsonObject } from "@bufbuild/protobuf";
import { chunkLimits, type CutText } from "../cutting/cut-document.js";
import type { Cutter } from "../cutting/cutter.js";
import type { CollectionSettings, DocumentVersion, JobDocument, JobPhase, NewDocument, NewJob } from "../store/store.js";
import { storableJson } from "../store/stored-json.js";

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

/** A document of too many chunks for one batch: its head, and the windows that cutDocument made of it. */
export interface LargeDocument {
  readonly kind: "large";
  readonly document: Omit<CutDocument, "chunks">;
  readonly windows: CutText["windows"];
}

export type Prepared = Unchanged | { readonly kind: "cut"; readonly document: CutDocument };

export interface PrepareOptions {
  readonly settings: CollectionSettings;
  /** What is in the collection under the document's id. */
  readonly version: DocumentVersion | undefined;
  /** What was said of all documents of the job. */
  readonly ofAll: Pick<NewJob, "metadata" | "readers">;
  readonly cutter: Cutter;
  readonly signal: AbortSignal;
  readonly onPhase: (phase: JobPhase) => void;
}

/** Whether the document has to be read again: undefined if so. */
export function unchanged(document: JobDocument, hash: string, { version, ofAll }: PrepareOptions): Unchanged | undefined {
  if (version === undefined || version.contentHash !== hash) return undefined;
  if (document.mimeType !== "" && document.mimeType !== version.mimeType) return undefined;
  return asKnown(document, version, { ofAll });
}

/** What is left to do for a document whose bytes are as they were. */
export function asKnown(document: JobDocument, { givenMetadata, readers }: DocumentVersion, { ofAll }: Pick<PrepareOptions, "ofAll">): Unchanged {
  const given = givenOf(document, ofAll);
  return isDeepStrictEqual(given, { givenMetadata, readers }) ? { kind: "unchanged" } : { kind: "metadata", given };
}

/** Reads a document that is in memory and cuts it into chunks; its bytes are not to be used again. Throws ExtractionError. */
export async function prepareDocument(
  document: JobDocument,
  { content, hash }: { content: Uint8Array; hash: string },
  options: PrepareOptions,
): Promise<Prepared | LargeDocument> {
  const same = unchanged(document, hash, options);
  if (same !== undefined) return same;
  options.onPhase("PARSING");
  const sizeBytes = content.length;
  const whole = { content, name: document.documentId, mimeType: document.mimeType, limits: chunkLimits(options.settings) };
  const { chunks, windows, ...cut } = await options.cutter.document(whole, options.signal);
  const head = {
    ordinal: document.ordinal,
    id: document.documentId,
    source: document.source,
    ...cut,
    ...givenOf(document, options.ofAll),
    contentHash: hash,
    sizeBytes,
  };
  return windows.length > 0 ? { kind: "large", document: head, windows } : { kind: "cut", document: { ...head, chunks } };
}

/** What was said of a document alone, above what was said of all. */
export function givenOf(document: JobDocument, ofAll: Pick<NewJob, "metadata" | "readers">): Given {
  const readers = document.readers.length > 0 ? document.readers : ofAll.readers;
  return { givenMetadata: storableJson({ ...ofAll.metadata, ...document.metadata }), readers: [...new Set(readers)].sort() };
}
