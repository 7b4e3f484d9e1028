import type { BucketOp, BucketOutcome } from "./bucket.js";
import type { Limit } from "./limit.js";

/** The buckets of all keys. */
export interface BucketStore {
  /**
   * Carries out one operation on a key's bucket; operations on a key follow each other, whichever replica they come
   * from. Rejects with StoreUnavailableError when the backend cannot say: the operation may have been carried out or not.
   */
  decide(key: string, limit: Limit, op: BucketOp): Promise<BucketOutcome>;
  /** Rejects when the backend does not answer. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** The backend did not answer, or refused to. */
export class StoreUnavailableError extends Error {
  override name = "StoreUnavailableError";
}

/** The key of a bucket: the tenant is part of it. */
export function bucketKey(tenant: string, key: string): string {
  // The tenant is encoded, so that no key of one tenant can be read as one of another.
  return `${encodeURIComponent(tenant)}/${key}`;
}
