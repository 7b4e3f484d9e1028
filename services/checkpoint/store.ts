import type { SegmentRef } from "./segment-tree.js";

/** A thread of a tenant; everything that is stored belongs to one. */
export interface ThreadKey {
  readonly tenant: string;
  readonly threadId: string;
}

/** A checkpoint's place. */
export interface CheckpointKey extends ThreadKey {
  readonly namespace: string;
  readonly checkpointId: string;
}

/** Who writes, and when. */
export interface WriteContext {
  /** The token of the writer's lease; 0n without one. */
  readonly fencingToken: bigint;
  readonly now: Date;
}

/** Segments and nodes to store with a put, and hashes that must be stored already. */
export interface Addition {
  readonly contents: readonly { readonly hash: Buffer; readonly stored: Buffer }[];
  readonly required: readonly Buffer[];
}

/** A channel of a checkpoint to store. */
export interface ChannelPut {
  readonly channel: string;
  readonly version: string;
  /** Packed (packed-value.ts); undefined when the channel is empty or unchanged. */
  readonly value: Buffer | undefined;
  /** Takes the value of the parent, or else of the newest checkpoint of the namespace with this version. */
  readonly unchanged: boolean;
}

export interface CheckpointPut {
  readonly namespace: string;
  readonly checkpointId: string;
  readonly parentId: string | undefined;
  /** The checkpoint and its metadata as their writer gave them. */
  readonly data: Buffer;
  /** What lists are filtered by: a JSON object's text. */
  readonly metadata: string;
  readonly needsParent: boolean;
  readonly channels: readonly ChannelPut[];
}

/** One write of a task. */
export interface WritePut {
  readonly namespace: string;
  readonly checkpointId: string;
  readonly taskId: string;
  readonly taskPath: string;
  /** Its place in the task; once in a batch. */
  readonly index: number;
  readonly channel: string;
  readonly value: Buffer;
}

/** What one put stores. */
export interface PutBatch {
  readonly checkpoint: CheckpointPut | undefined;
  readonly writes: readonly WritePut[];
}

/** What came of a put. */
export interface PutOutcome {
  /** Hashes that are required and not stored; when there are any, nothing was stored. */
  readonly missing: readonly Buffer[];
  /** Checkpoints of the thread after the put. */
  readonly checkpointCount: number;
}

/** A channel that holds a value. */
export interface StoredChannel {
  readonly channel: string;
  readonly version: string;
  readonly value: Buffer;
}

export interface StoredWrite {
  readonly taskId: string;
  readonly taskPath: string;
  readonly channel: string;
  readonly value: Buffer;
}

export interface StoredCheckpoint extends CheckpointKey {
  readonly parentId: string | undefined;
  readonly data: Buffer;
  readonly channels: readonly StoredChannel[];
  /** Ordered by task path, task id and index. */
  readonly writes: readonly StoredWrite[];
  readonly createdAt: Date;
}

/** Stored bytes of segments and nodes by hashKey. */
export type StoredContents = ReadonlyMap<string, Buffer>;

export interface ListQuery {
  readonly tenant: string;
  readonly threadId: string | undefined;
  readonly namespace: string | undefined;
  readonly checkpointId: string | undefined;
  readonly before: string | undefined;
  /** A JSON object's text; undefined for all. */
  readonly filter: string | undefined;
}

export interface ThreadSummary extends ThreadKey {
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly expiresAt: Date | undefined;
  readonly checkpointCount: number;
  readonly storedBytes: number;
  readonly lease: Lease | undefined;
}

export interface Lease {
  readonly owner: string;
  readonly token: bigint;
  readonly expiresAt: Date;
}

/** What decides whether a checkpoint may go; see retention.ts. */
export interface CheckpointAge {
  readonly namespace: string;
  readonly checkpointId: string;
  readonly parentId: string | undefined;
  readonly needsParent: boolean;
}

export interface TenantStats {
  readonly threads: number;
  readonly checkpoints: number;
  readonly storedBytes: number;
  readonly oldestUpdate: Date | undefined;
}

/** The id of a thread, and that of its copy. */
export interface ThreadCopy {
  readonly source: string;
  readonly target: string;
}

export type CopyOutcome = "copied" | "no source" | "target exists";

/**
 * Where checkpoints are kept. Each method is atomic, and what a writing method
 * resolved is durable. Writing methods reject with LEASE_LOST when the token is
 * not the thread's newest one, and with THREAD_LEASED when another holds the
 * thread and there is no token. A thread past its expiry is not there. All
 * reject with UNAVAILABLE when the store cannot be reached.
 */
export interface CheckpointStore {
  /**
   * Stores a checkpoint, replacing one of the same id, and task writes. Writes
   * that are there stay, except those of an index below 0, which are replaced.
   */
  put(thread: ThreadKey, batch: PutBatch, addition: Addition, context: WriteContext): Promise<PutOutcome>;
  /** What no put names until `sweepAt` may be swept then. */
  putContents(thread: ThreadKey, contents: Addition["contents"], sweepAt: Date, context: WriteContext): Promise<void>;
  /** The checkpoint, or the namespace's newest one; counts as use of the thread. */
  get(thread: ThreadKey, namespace: string, checkpointId: string | undefined, now: Date): Promise<StoredCheckpoint | undefined>;
  /** The next checkpoints after `after`, newest first, thread by thread; fewer than `count` at the end. */
  list(query: ListQuery, after: CheckpointKey | undefined, count: number, now: Date): Promise<StoredCheckpoint[]>;
  /** What `refs` name and all that is below; what is not stored is not in the answer. */
  contents(thread: ThreadKey, refs: readonly SegmentRef[]): Promise<StoredContents>;
  thread(thread: ThreadKey, now: Date): Promise<ThreadSummary | undefined>;
  /** Threads that have checkpoints, by id, after the id `after`. */
  threads(tenant: string, prefix: string, after: string, count: number, now: Date): Promise<ThreadSummary[]>;
  deleteThread(thread: ThreadKey): Promise<void>;
  /** Copies all but the lease, each thread alone; resolves what came of each. */
  copyThreads(tenant: string, copies: readonly ThreadCopy[], now: Date): Promise<CopyOutcome[]>;
  /** Deletes the checkpoints that `choose` names of all of the thread, with their writes; resolves how many. */
  deleteCheckpoints(thread: ThreadKey, choose: (all: readonly CheckpointAge[]) => readonly CheckpointAge[]): Promise<number>;
  /**
   * Deletes what no checkpoint or write names and was stored before `before`;
   * resolves how many. What else is not named will be due at `again`.
   */
  sweepContents(thread: ThreadKey, before: Date, again: Date): Promise<number>;
  /** Resolves the lease, or who holds it when another owner does and it is not to be taken over. */
  acquireLease(thread: ThreadKey, owner: string, expiresAt: Date, now: Date, takeOver?: boolean): Promise<{ granted: boolean; lease: Lease }>;
  /** Resolves undefined when the token is not the thread's newest one, or was given back. */
  renewLease(thread: ThreadKey, token: bigint, expiresAt: Date): Promise<Lease | undefined>;
  releaseLease(thread: ThreadKey, token: bigint): Promise<void>;
  /** At most `count` leases of owners that begin with `ownerPrefix`, which ended by `now` and were not given back; the oldest first. */
  expiredLeases(ownerPrefix: string, now: Date, count: number): Promise<(ThreadKey & { readonly lease: Lease })[]>;
  stats(tenant: string): Promise<TenantStats>;
  /** Deletes at most `count` threads that expired before `now`; resolves how many. */
  deleteExpired(now: Date, count: number): Promise<number>;
  /** At most `count` threads with more than `checkpoints` checkpoints. */
  threadsAbove(checkpoints: number, count: number): Promise<ThreadKey[]>;
  /** At most `count` threads whose contents are due to be swept. */
  threadsToSweep(now: Date, count: number): Promise<ThreadKey[]>;
  /** Whether `owner` has the cleaning to do until `until`; one at a time has. */
  takeCleaningTurn(owner: string, until: Date, now: Date): Promise<boolean>;
  ping(): Promise<void>;
  close(): Promise<void>;
}
