import type { Role } from "../../gen/ragents/auth/v1/access_pb.js";

/** A key as it is kept. */
export interface StoredKey {
  readonly id: string;
  readonly displayName: string;
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly Role[];
  readonly tier: string;
  readonly created: Date;
  readonly expires: Date | undefined;
  readonly revoked: Date | undefined;
  readonly lastUsed: Date | undefined;
}

/** A place in a list of keys, newest first. */
export type KeyPosition = readonly [created: number, id: string];

/** Where API keys are kept: hashes, never secrets. */
export interface KeyStore {
  /**
   * Adds a key. Resolves to undefined, or to the id of the tenant's key that was made with the same idempotency key
   * before; then nothing is added.
   */
  add(key: StoredKey, secretHash: Buffer, idempotencyKey: string | undefined): Promise<string | undefined>;
  /** A key, whatever its state, and its secret's hash; undefined when there is none. */
  find(id: string): Promise<{ key: StoredKey; secretHash: Buffer } | undefined>;
  /** A tenant's keys, newest first. */
  list(tenant: string, page: { after?: KeyPosition | undefined; limit: number }): Promise<StoredKey[]>;
  /**
   * Revokes a key of `tenant`, or of any tenant when that is undefined. Resolves to the key, whose first revocation
   * stands, or to undefined when there is none.
   */
  revoke(id: string, tenant: string | undefined, at: Date): Promise<StoredKey | undefined>;
  /** Ids of the keys that were revoked at `since` or later. */
  revokedSince(since: Date): Promise<string[]>;
  /** Whether there never was a key: those that ended or were revoked count. */
  isEmpty(): Promise<boolean>;
  /** Notes that keys were used. */
  noteUse(ids: readonly string[], at: Date): Promise<void>;
  close(): Promise<void>;
}
