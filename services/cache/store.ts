import type { CacheKind, CacheScope, CacheSelector } from "../../gen/ragents/cache/v1/cache_pb.js";

/** A tenant's entries of one kind that depend on the same things. */
export interface EntryScope {
  readonly tenant: string;
  readonly kind: CacheKind;
  readonly parts: CacheScope;
  /** A hash of all of the above. */
  readonly id: string;
}

/** A value as it is stored. */
export interface StoredValue {
  readonly bytes: Uint8Array;
  /** Whether the bytes are deflated. */
  readonly deflated: boolean;
}

export interface GetGroup {
  readonly scope: EntryScope;
  readonly hashes: readonly Uint8Array[];
  /** The texts of the hashes, where an equivalent one may be answered for; "" where one is not known. */
  readonly texts?: readonly string[];
  /** How long a fill lease on a missing entry lasts, in milliseconds; none is taken when absent. */
  readonly leaseMs?: number;
}

/** What a store has under a key. */
export type StoreLookup =
  /** Similar: the value of an equivalent text. */
  | { state: "hit"; value: StoredValue; ttlMs: number; similar?: true }
  | { state: "miss" }
  | { state: "leased"; token: string }
  | { state: "filling" };

export interface PutGroup {
  readonly scope: EntryScope;
  readonly items: readonly PutEntry[];
}

export interface PutEntry {
  readonly hash: Uint8Array;
  readonly value: StoredValue;
  readonly ttlMs: number;
  /** The value is stored only while this lease lasts. */
  readonly leaseToken?: string;
  /** The text of the hash, for which equivalent ones may be answered. */
  readonly text?: string;
}

export type PutOutcome = "stored" | "lease_lost" | "no_room";

/** Something that happened to a tenant's entries and that holders of copies must know. */
export type CacheChange =
  | { kind: "removed"; selector: CacheSelector }
  | { kind: "replaced"; scope: EntryScope; hashes: readonly Uint8Array[] };

export interface ChangeListener {
  changed(change: CacheChange): void;
  /** Changes may have been missed; nothing more is told. */
  lost(): void;
}

/** What was counted for one kind of one tenant. */
export interface UsageCounts {
  hits: number;
  misses: number;
  /** Part of hits. */
  localHits: number;
  /** Part of hits. */
  similarHits: number;
}

/** The store's statistics of one kind of one tenant, of all replicas together. */
export interface KindStats extends UsageCounts {
  entries: number;
  bytes: number;
  evictions: number;
  expirations: number;
}

/** A text whose value is, or was, stored. */
export interface Question {
  readonly hash: Uint8Array;
  readonly text: string;
}

/** The latest texts of each scope, for all replicas. Forgotten with the scope's removal; any may vanish at any time. */
export interface QuestionLog {
  /** They are kept for at least `ttlMs` unless QUESTIONS_A_SCOPE newer ones come. */
  add(scope: EntryScope, questions: readonly Question[], ttlMs: number): Promise<void>;
  /** Those added after a cursor that an earlier read gave ("" for all), oldest first. */
  readAfter(scope: EntryScope, cursor: string): Promise<{ questions: Question[]; cursor: string }>;
}

/** Texts that are kept of one scope. */
export const QUESTIONS_A_SCOPE = 1_000;

/**
 * Keeps entries for as long as they live and room lasts. Any entry may vanish; none outlives its removal, is seen by
 * another tenant, or is found outside of its scope. Methods reject when the backend fails.
 */
export interface CacheStore {
  /** One lookup for each hash of each group. */
  get(groups: readonly GetGroup[]): Promise<StoreLookup[][]>;
  /** One outcome for each item of each group. Replaces older entries. */
  put(groups: readonly PutGroup[]): Promise<PutOutcome[][]>;
  /** Whether the lease still lasted; if so it lasts for `leaseMs` from now. */
  extendLease(scope: EntryScope, hash: Uint8Array, token: string, leaseMs: number): Promise<boolean>;
  releaseLease(scope: EntryScope, hash: Uint8Array, token: string): Promise<void>;
  /** Removes what the selector names and ends the leases there. Resolves to the number of entries removed. */
  remove(tenant: string, selector: CacheSelector): Promise<number>;
  /** Adds to what is counted; may be written with a short delay. */
  count(tenant: string, kind: CacheKind, counts: Partial<UsageCounts>): void;
  /** By kind; kinds that were never used may be absent. */
  stats(tenant: string): Promise<Map<CacheKind, KindStats>>;
  /** Tells every change from the moment this resolves; resolves to a function that ends it. */
  watch(tenant: string, listener: ChangeListener): Promise<() => void>;
  readonly questions: QuestionLog;
  /** A step of housekeeping, bounded in time: counts and forgets what has expired or was evicted. Called now and then. */
  sweep(): Promise<void>;
  /** Rejects when the backend cannot be reached. */
  ping(): Promise<void>;
  close(): Promise<void>;
}
