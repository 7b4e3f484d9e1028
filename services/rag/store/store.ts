import type { JsonObject } from "@bufbuild/protobuf";
import type { Viewer } from "../../../runtime/identity/viewer.js";

/** A collection as callers name it. */
export interface CollectionRef {
  readonly tenant: string;
  readonly id: string;
}

/** How a collection's documents are cut, analysed and embedded; fixed when it is created. */
export interface CollectionSettings {
  /** The largest chunk in UTF-16 code units. */
  readonly chunkSize: number;
  /** Code units that neighbouring chunks share at most. */
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

/** What decides whether a document has to be read again. */
export interface DocumentVersion {
  readonly contentHash: string;
  readonly mimeType: string;
  /** The caller's part of the metadata. */
  readonly givenMetadata: JsonObject;
  readonly readers: readonly string[];
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
}

/** What one transaction adds to a job that is not queued yet. */
export interface StagedDocuments {
  readonly documents: readonly Omit<JobDocument, "file">[];
  /** Parts of a document's bytes in order; the sizes of the documents grow by theirs. */
  readonly parts: readonly { readonly ordinal: number; readonly part: number; readonly bytes: Uint8Array }[];
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

/** What a tenant has in all of its collections. */
export interface TenantUsage {
  readonly documents: number;
  readonly textBytes: number;
}

export interface CollectionStore {
  /** Resolves undefined when the id is taken. */
  createCollection(ref: CollectionRef, settings: CollectionSettings, now: Date): Promise<CollectionRecord | undefined>;
  /** Resolves undefined when there is none. The collection "default" is made on its first use. */
  getCollection(ref: CollectionRef): Promise<CollectionRecord | undefined>;
  /** By id, in the order of code points. */
  listCollections(tenant: string, page: Page<string>): Promise<CollectionRecord[]>;
  tenantUsage(tenant: string): Promise<TenantUsage>;
  /** Deletes all that belongs to it, its jobs too. Resolves false when there is none. */
  deleteCollection(ref: CollectionRef): Promise<boolean>;
}

export interface DocumentStore {
  listDocuments(collection: number, viewer: Viewer, page: Page<string>): Promise<DocumentRecord[]>;
  getDocument(collection: number, viewer: Viewer, id: string): Promise<DocumentRecord | undefined>;
  /** Which of the documents exist, by id, and in which version. */
  documentVersions(collection: number, ids: readonly string[]): Promise<Map<string, DocumentVersion>>;
  /** Resolves false when there is none that the viewer may read. Moves the epoch by one. */
  deleteDocument(collection: number, viewer: Viewer, id: string, now: Date): Promise<boolean>;
}

export interface JobStore {
  /** Creates a job that waits to be queued: no caller sees it, and it is removed when `leaseUntil` has passed. */
  createJob(job: NewJob, now: Date, leaseUntil: Date): Promise<void>;
  /** Adds documents, and parts of their bytes, to a job that is not queued. Rejects with LeaseLostError when it is gone. */
  stage(jobId: string, staged: StagedDocuments, leaseUntil: Date): Promise<void>;
  /**
   * Makes the job QUEUED. When another job of the collection was created with the idempotency key (empty for none) since
   * `reuseAfter`, removes this one and resolves to that.
   */
  queueJob(jobId: string, idempotencyKey: string, reuseAfter: Date): Promise<JobRecord>;
  /** The job that has used the key since `reuseAfter`. */
  findJob(collection: number, idempotencyKey: string, reuseAfter: Date): Promise<JobRecord | undefined>;
  /** Removes a job in state STAGING and all it staged. */
  abandonJob(jobId: string): Promise<void>;
  getJob(tenant: string, id: string): Promise<JobRecord | undefined>;
  /** Newest first. */
  listJobs(tenant: string, collection: string | undefined, page: Page<{ createTime: Date; id: string }>): Promise<JobRecord[]>;
  /** Resolves to the job, and whether this call cancelled it; undefined when there is none. */
  cancelJob(tenant: string, id: string, now: Date): Promise<{ job: JobRecord; cancelled: boolean } | undefined>;

  /** Jobs of all tenants that wait or are worked on. */
  jobBacklog(): Promise<JobBacklog>;
  /** Takes the oldest job that waits or whose worker's lease has expired. */
  claimJob(owner: string, now: Date, leaseUntil: Date): Promise<ClaimedJob | undefined>;
  /** Keeps the job. Rejects with LeaseLostError when it is no longer this worker's. */
  renewLease(lease: JobLease, progress: { phase: JobPhase }, leaseUntil: Date): Promise<void>;
  /** Gives the job back untried: another worker takes it at once. */
  releaseJob(lease: JobLease): Promise<void>;
  /** Gives the job back after something failed that may mend: a worker takes it after `retryAt`. */
  postponeJob(lease: JobLease, retryAt: Date): Promise<void>;
  /** Records the documents found in the job's path, and how many files of other types were passed over. */
  addJobDocuments(lease: JobLease, documents: readonly JobDocument[], ignoredFiles: number): Promise<void>;
  /** Documents not yet done with, by ordinal. */
  waitingDocuments(jobId: string, page: Page<number>): Promise<JobDocument[]>;
  /** The next part of a staged document's bytes; undefined behind the last. */
  readPart(jobId: string, ordinal: number, part: number): Promise<Uint8Array | undefined>;
  /**
   * Makes a batch visible, all of it or nothing: documents replace those of their ids, the index gains the segment, the epoch
   * moves by one if anything that can be found has changed, and the documents are done with. A batch that was committed
   * before, its answer lost, changes nothing.
   */
  commitBatch(lease: JobLease, batch: JobBatch, now: Date): Promise<JobRecord>;
  /** Stores a window of a document that the job still waits for. */
  addWindow(lease: JobLease, window: NewWindow): Promise<void>;
  /** The windows stored of a document, by number. */
  windows(jobId: string, ordinal: number): Promise<StoredWindow[]>;
  /** Removes the windows stored of a document. */
  dropWindows(lease: JobLease, ordinal: number): Promise<void>;
  /**
   * Removes at most `limit` of the documents that the job's source has no more; moves the epoch by one if there are any. Resolves
   * to their number.
   */
  removeMissing(lease: JobLease, limit: number, now: Date): Promise<number>;
  /** Ends the job; what it staged goes. */
  finishJob(lease: JobLease, state: "SUCCEEDED" | "FAILED", now: Date): Promise<JobRecord>;
  /** Removes uploads whose lease expired before `now`, and jobs that ended before `endedBefore`. */
  pruneJobs(now: Date, endedBefore: Date): Promise<void>;
}

export interface IndexStore {
  /** The first of `count` consecutive chunk ids that nobody else gets. */
  reserveChunkIds(collection: number, count: number): Promise<number>;
  /** Resolves undefined when the collection is gone. */
  manifest(collection: number): Promise<Manifest | undefined>;
  /** A segment's bytes; undefined when it was merged away. */
  readSegment(collection: number, segment: number): Promise<Uint8Array | undefined>;
  /** Parts of segments' bytes, in the order asked for; undefined of a segment that was merged away. */
  readSegmentRanges(collection: number, ranges: readonly SegmentRange[]): Promise<(Uint8Array | undefined)[]>;
  readTombstones(collection: number, segments: readonly number[]): Promise<Map<number, Tombstones>>;
  /** Vectors of chunks from `first` to `last`, by id. */
  readVectors(collection: number, model: string, first: number, last: number): Promise<VectorRow[]>;
  /** The vectors of the next chunks behind `after`, of about `chunks` chunks; none behind the last. */
  readVectorBlock(collection: number, model: string, after: number, chunks: number): Promise<VectorRow[]>;
  /** The rows that hold the vectors of the given chunks. */
  readVectorsOf(collection: number, model: string, chunkIds: readonly number[]): Promise<VectorRow[]>;
  /** Chunks that exist and that the viewer may read, in no order. */
  readChunks(collection: number, viewer: Viewer, ids: readonly number[]): Promise<StoredChunk[]>;
  /** Runs of consecutive chunk ids whose documents the viewer may read and that meet the condition. */
  allowedChunks(collection: number, viewer: Viewer, condition: DocumentCondition): Promise<ChunkRun[]>;
  /**
   * Replaces segments by their merge; chunks deleted meanwhile become tombstones of it. Resolves false when another merge came
   * first.
   */
  commitMerge(collection: number, merge: SegmentMerge): Promise<boolean>;
}

/** All that the rag service keeps. Safe to use from many replicas at once. */
export interface RagStore extends CollectionStore, DocumentStore, JobStore, IndexStore {
  /** Resolves when the store answers. */
  ping(): Promise<void>;
}
