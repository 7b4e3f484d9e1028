import type { JsonObject } from "@bufbuild/protobuf";

/** A collection as callers name it. */
export interface CollectionRef {
  readonly tenant: string;
  readonly id: string;
}

/** How a collection's documents are cut, analysed and embedded; fixed when it is created, but for the embedding model. */
export interface CollectionSettings {
  /** What size and overlap count: UTF-16 code units, or pieces of a word as the built-in model reads them. */
  readonly chunkUnit: "characters" | "tokens";
  /** The largest chunk. */
  readonly chunkSize: number;
  /** What neighbouring chunks share at most. */
  readonly chunkOverlap: number;
  readonly embeddingModel: string;
  readonly language: "english" | "none";
}

export interface CollectionRecord extends CollectionRef {
  /** Names the collection's rows. A collection created again under the same id has another. */
  readonly uid: number;
  readonly settings: CollectionSettings;
  /** Moves by one with every commit that changes what can be found; never goes back, even when the id is reused. */
  readonly epoch: number;
  readonly documentCount: number;
  readonly chunkCount: number;
  readonly textBytes: number;
  /** Documents that not everyone may read. */
  readonly restrictedCount: number;
  readonly createTime: Date;
  readonly updateTime: Date;
}

export interface DocumentRecord {
  readonly id: string;
  readonly source: string;
  readonly title: string;
  readonly mimeType: string;
  readonly metadata: JsonObject;
  /** Who may read it, sorted; everyone when empty. */
  readonly readers: readonly string[];
  readonly contentHash: string;
  readonly sizeBytes: number;
  readonly chunkCount: number;
  readonly createTime: Date;
  readonly updateTime: Date;
}

/** What a server said that a page can be asked for again by. */
export interface PageVersion {
  readonly etag?: string;
  readonly lastModified?: string;
}

/** What decides whether a document has to be read again. */
export interface DocumentVersion {
  readonly contentHash: string;
  readonly mimeType: string;
  /** The caller's part of the metadata. */
  readonly givenMetadata: JsonObject;
  readonly readers: readonly string[];
  /** Of a document that was fetched. */
  readonly page?: PageVersion | undefined;
}

export const JOB_STATES = ["STAGING", "QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"] as const;
/** STAGING is an upload under way: no caller sees it. */
export type JobState = (typeof JOB_STATES)[number];
export const JOB_PHASES = ["NONE", "PARSING", "CHUNKING", "EMBEDDING", "INDEXING"] as const;
export type JobPhase = (typeof JOB_PHASES)[number];

export interface DocumentFailure {
  readonly documentId: string;
  /** An ErrorReason's name. */
  readonly reason: string;
  readonly message: string;
}

export interface JobRecord {
  readonly id: string;
  readonly tenant: string;
  /** The collection's id, as callers name it. */
  readonly collection: string;
  readonly state: JobState;
  readonly phase: JobPhase;
  readonly totalDocuments: number;
  readonly doneDocuments: number;
  readonly skippedDocuments: number;
  readonly failedDocuments: number;
  /** Files of the job's path that are of no known type. */
  readonly ignoredFiles: number;
  /** Documents that went because the job's source has them no more. */
  readonly removedDocuments: number;
  readonly chunks: number;
  /** The model that a re-embedding gives the collection; undefined for an ingestion. */
  readonly targetModel: string | undefined;
  /** Chunks that a re-embedding has to embed. */
  readonly totalChunks: number;
  readonly totalBytes: number;
  readonly doneBytes: number;
  readonly failures: readonly DocumentFailure[];
  readonly createTime: Date;
  readonly startTime: Date | undefined;
  readonly endTime: Date | undefined;
}

/** Failures that a job's row keeps. */
export const MAX_KEPT_FAILURES = 100;

export interface NewJob {
  readonly id: string;
  readonly collection: CollectionRecord;
  /** Absolute, resolved, inside an allowed root; undefined when the documents are staged. Never leaves the server. */
  readonly path?: { readonly root: string; readonly target: string; readonly idPrefix: string };
  /** Given to every document of the job, below the document's own. */
  readonly metadata: JsonObject;
  /** Of the documents that name none of their own. */
  readonly readers: readonly string[];
  /** Documents whose ids begin with this and are not in the job go at its end. */
  readonly syncPrefix?: string | undefined;
  /** Makes it a job that embeds the collection with this model. */
  readonly targetModel?: string | undefined;
}

/** One document that a job has to ingest. */
export interface JobDocument {
  /** Its place in the job, from 0. */
  readonly ordinal: number;
  readonly documentId: string;
  readonly source: string;
  /** Empty when it is to be found out. */
  readonly mimeType: string;
  readonly metadata: JsonObject;
  /** Empty for the job's. */
  readonly readers: readonly string[];
  readonly sizeBytes: number;
  /** Absolute path of a file of the server; undefined when the bytes are staged. */
  readonly file: string | undefined;
  /** Where the bytes are fetched from; undefined when they are elsewhere. */
  readonly url?: string | undefined;
  /** SHA-256 of the staged bytes in hex; undefined of bytes that are elsewhere. */
  readonly contentHash?: string | undefined;
}

/** What one transaction adds to a job that is not queued yet. */
export interface StagedDocuments {
  readonly documents: readonly Omit<JobDocument, "file" | "contentHash">[];
  /** Parts of a document's bytes in order; the sizes of the documents grow by theirs. */
  readonly parts: readonly { readonly ordinal: number; readonly part: number; readonly bytes: Uint8Array }[];
  /** Of documents whose last part is staged. */
  readonly hashes: readonly { readonly ordinal: number; readonly contentHash: string }[];
}

/** Work that is to be done. */
export interface JobBacklog {
  readonly queued: number;
  readonly running: number;
  /** When the job that waits longest was created; undefined when none waits. */
  readonly oldestQueued: Date | undefined;
}

/** The right to work on a job. Every write of a worker proves it: a job that was taken over or cancelled takes no more writes. */
export interface JobLease {
  readonly jobId: string;
  /** The uid of the collection that the job fills. */
  readonly collection: number;
  readonly owner: string;
  /** Counts the times that the job was taken. */
  readonly attempt: number;
  /** The model that the collection had then: what was embedded with another one is not written. */
  readonly model: string;
}

export interface ClaimedJob {
  readonly lease: JobLease;
  readonly job: JobRecord;
  readonly collection: CollectionRecord;
  readonly path: NewJob["path"];
  readonly metadata: JsonObject;
  readonly readers: readonly string[];
  readonly syncPrefix: string | undefined;
  /** False until all documents of a path are rows. */
  readonly enumerated: boolean;
  /** Takings since a document was last done with: a job that only ever kills its worker shows here. */
  readonly fruitlessAttempts: number;
}

/** The job was cancelled, taken over by another worker, or its collection is gone: stop, write nothing. */
export class LeaseLostError extends Error {
  override name = "LeaseLostError";
}

/** The collection was given another embedding model since the job was taken: give it back, and take it anew. */
export class ModelChangedError extends Error {
  override name = "ModelChangedError";
}

export interface NewChunk {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly headingPath: readonly string[];
  /** The page that it starts on, from 1; undefined where there are no pages. */
  readonly page?: number | undefined;
}

/** A document that was read, without its chunks. */
export interface DocumentHead {
  readonly ordinal: number;
  readonly id: string;
  readonly source: string;
  readonly title: string;
  readonly mimeType: string;
  /** What the document says of itself. */
  readonly foundMetadata: JsonObject;
  /** What the caller says of it; wins where both speak. */
  readonly givenMetadata: JsonObject;
  readonly readers: readonly string[];
  readonly contentHash: string;
  readonly sizeBytes: number;
  /** UTF-8 bytes of the extracted text. */
  readonly textBytes: number;
  /** Of a document that was fetched. */
  readonly page?: PageVersion | undefined;
}

/** A document that was read, cut and embedded, ready to replace what its id stood for. */
export interface NewDocument extends DocumentHead {
  readonly chunks: readonly NewChunk[];
  /** Of the first chunk; the others follow. From reserveChunkIds. */
  readonly firstChunkId: number;
  /** The chunks' vectors, encoded; one row. */
  readonly vectors: Uint8Array;
}

/** Consecutive chunk ids. */
export interface ChunkRun {
  readonly first: number;
  readonly count: number;
}

export interface NewSegment {
  /** 0 for what a batch adds, one more with each merge. */
  readonly level: number;
  /** Its chunks in the order of their ids. */
  readonly runs: readonly ChunkRun[];
  readonly bytes: Uint8Array;
}

/** A part of a document that is too large for one batch: it is stored, and found by nobody until the document is complete. */
export interface NewWindow {
  readonly ordinal: number;
  /** From 0 in the document. */
  readonly number: number;
  /** Of its text: a worker that takes the job over goes on behind the windows that are still the same. */
  readonly hash: string;
  /** What it stands for in the job's progress. */
  readonly bytes: number;
  /** The number of its first chunk in the document. */
  readonly firstOrdinal: number;
  /** The id of the document's first chunk. */
  readonly documentKey: number;
  readonly firstChunkId: number;
  readonly chunks: readonly NewChunk[];
  readonly vectors: Uint8Array;
  readonly segment: NewSegment;
}

export interface StoredWindow {
  readonly number: number;
  readonly hash: string;
  readonly run: ChunkRun;
}

/** A document whose windows are all stored. */
export interface WindowedDocument extends DocumentHead {
  readonly runs: readonly ChunkRun[];
}

export interface MetadataChange {
  readonly ordinal: number;
  readonly id: string;
  readonly givenMetadata: JsonObject;
  readonly readers: readonly string[];
}

/** What one transaction of a job changes. */
export interface JobBatch {
  readonly documents: readonly NewDocument[];
  /** The index over the documents' chunks, in their order; absent when there is none. */
  readonly segment?: NewSegment;
  readonly windowed?: readonly WindowedDocument[];
  /** Documents of which only what the caller says changed. */
  readonly metadataChanges: readonly MetadataChange[];
  /** Ordinals of documents that are as they were. */
  readonly skipped: readonly number[];
  readonly failed: readonly { readonly ordinal: number; readonly failure: DocumentFailure }[];
}

/** One segment of a collection's index, as the manifest names it. */
export interface SegmentEntry {
  readonly id: number;
  readonly level: number;
  readonly runs: readonly ChunkRun[];
  readonly chunkCount: number;
  readonly deadCount: number;
  /** Of its blob. */
  readonly bytes: number;
  /** Moves when chunks of the segment are deleted. */
  readonly tombstoneVersion: number;
}

/** What a collection's index consists of at one epoch. */
export interface Manifest {
  readonly epoch: number;
  /** The model whose vectors answer. */
  readonly model: string;
  readonly segments: readonly SegmentEntry[];
}

/** The deleted chunks of a segment: bit i stands for its i-th chunk; shorter than the segment when the rest lives. */
export interface Tombstones {
  readonly version: number;
  readonly bits: Uint8Array;
}

/** The vectors of consecutive chunks, from `firstChunk` on. */
export interface VectorRow {
  readonly firstChunk: number;
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** Vectors of chunks of one document, encoded. */
export interface NewVectors {
  readonly run: ChunkRun;
  readonly vectors: Uint8Array;
}

/** Bytes of a segment from `start` to `end`, exclusive. */
export interface SegmentRange {
  readonly segment: number;
  readonly start: number;
  readonly end: number;
}

/** What replaces several segments: the same chunks without those that were known to be deleted. */
export interface SegmentMerge {
  readonly inputs: readonly { readonly id: number; readonly deleted: Uint8Array }[];
  readonly output: NewSegment;
}

/** A chunk with what is shown of its document. */
export interface StoredChunk {
  readonly id: number;
  readonly ordinal: number;
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly headingPath: readonly string[];
  readonly page: number | undefined;
  readonly document: Pick<DocumentRecord, "id" | "source" | "title" | "metadata">;
}

/** A condition on the table of documents: SQL over its columns with $1, $2 ... */
export interface DocumentCondition {
  readonly text: string;
  readonly parameters: readonly unknown[];
}

/** A page of something, after the item that the page before ended with. */
export interface Page<A> {
  readonly after?: A;
  readonly limit: number;
}
