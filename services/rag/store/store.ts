import type { Viewer } from "../../../runtime/identity/viewer.js";
import type {
  ChunkRun,
  ClaimedJob,
  CollectionRecord,
  CollectionRef,
  CollectionSettings,
  DocumentCondition,
  DocumentFailure,
  DocumentRecord,
  DocumentVersion,
  JobBacklog,
  JobBatch,
  JobDocument,
  JobLease,
  JobPhase,
  JobRecord,
  Manifest,
  NewJob,
  NewVectors,
  NewWindow,
  Page,
  SegmentMerge,
  SegmentRange,
  StagedDocuments,
  StoredChunk,
  StoredWindow,
  Tombstones,
  VectorRow,
} from "./records.js";

export * from "./records.js";

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
  /**
   * Deletes all documents that meet the condition and that the viewer may read, and resolves to their number. Moves the epoch by
   * one if there are any.
   */
  deleteDocuments(collection: number, viewer: Viewer, condition: DocumentCondition, now: Date): Promise<number>;
}

export interface JobStore {
  /**
   * Creates a job that waits to be queued: no caller sees it, and it is removed when `leaseUntil` has passed. Resolves false when
   * it is a re-embedding and the collection has one already.
   */
  createJob(job: NewJob, now: Date, leaseUntil: Date): Promise<boolean>;
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
  /** Ends the job, with what failed it as a whole if anything did; what it staged goes. */
  finishJob(lease: JobLease, state: "SUCCEEDED" | "FAILED", now: Date, failure?: DocumentFailure): Promise<JobRecord>;
  /** Removes uploads whose lease expired before `now`, and jobs that ended before `endedBefore`. */
  pruneJobs(now: Date, endedBefore: Date): Promise<void>;
}

/** Gives a collection another embedding model, by a job whose lease is shown; `model` is the job's target. */
export interface ReembeddingStore {
  /** Brings the job's counts of chunks to what there is: those that have a vector of the model, and all. */
  countEmbedded(lease: JobLease, model: string): Promise<JobRecord>;
  /** The next chunks that have no vector of the model, behind the chunk `after`: at most `limit` runs, each of one document. */
  unembeddedRuns(lease: JobLease, model: string, after: number, limit: number): Promise<ChunkRun[]>;
  /** Texts of chunks by id; those that are gone are missing. */
  readTexts(collection: number, runs: readonly ChunkRun[]): Promise<Map<number, string>>;
  /** Adds vectors of the model; those of chunks that are gone are left out. No question is answered by them yet. */
  addVectors(lease: JobLease, model: string, vectors: readonly NewVectors[]): Promise<JobRecord>;
  /**
   * Gives the collection the model if every chunk has a vector of it, and ends the job: all of it or nothing. Moves the epoch by
   * one; the vectors of the model before become unused. Resolves undefined when chunks came that have none.
   */
  switchModel(lease: JobLease, model: string, now: Date): Promise<JobRecord | undefined>;
  /** Removes at most `limit` rows of vectors of the model that are unused. Resolves whether there may be more. */
  clearVectors(lease: JobLease, model: string, limit: number): Promise<boolean>;
  /** Removes at most `limit` rows of vectors, of whatever collection, that are unused since before `before`. */
  removeUnusedVectors(before: Date, limit: number): Promise<void>;
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
export interface RagStore extends CollectionStore, DocumentStore, JobStore, ReembeddingStore, IndexStore {
  /** Resolves when the store answers. */
  ping(): Promise<void>;
}
