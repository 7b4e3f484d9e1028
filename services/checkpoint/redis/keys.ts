import type { ThreadKey } from "../store.js";

const PREFIX = "ragents:checkpoint:";

/** Keys that are about no single thread: hints, which are checked before they are acted on. */
export const EXPIRY_KEY = `${PREFIX}expiry`;
export const LEASES_KEY = `${PREFIX}leases`;
export const SWEEP_KEY = `${PREFIX}sweep`;
export const COUNTS_KEY = `${PREFIX}counts`;
export const CLEANING_KEY = `${PREFIX}cleaning`;

/**
 * A thread's keys. What is in braces decides their slot in a Redis Cluster: one
 * script can work on all of a thread.
 */
export function threadKeys({ tenant, threadId }: ThreadKey) {
  const prefix = `${PREFIX}{${encodeURIComponent(tenant)}:${encodeURIComponent(threadId)}}:`;
  return {
    /** Hash: c, u created and updated, e expires (ms), n checkpoints, b bytes, r revision; lo, lt, le the lease. */
    thread: `${prefix}thread`,
    /** Sorted set without scores: places of checkpoints, which sort by namespace and id. */
    index: `${prefix}index`,
    /** Hash: place to record. */
    checkpoints: `${prefix}langgraph_checkpoints`,
    /** Hash: place to the writes pending there. */
    writes: `${prefix}checkpoint_writes`,
    /** Hash: content hash to content. */
    contents: `${prefix}contents`,
    /** Sorted set: hashes of contents that were stored ahead of their put, by the time (ms). */
    ahead: `${prefix}ahead`,
  };
}

/** In the order in which the scripts take them. */
export function allThreadKeys(thread: ThreadKey): string[] {
  const keys = threadKeys(thread);
  return [keys.thread, keys.index, keys.checkpoints, keys.writes, keys.contents, keys.ahead];
}

/** The tenant's threads: a sorted set without scores. */
export function threadsKey(tenant: string): string {
  return `${PREFIX}threads:{${encodeURIComponent(tenant)}}`;
}

/** A checkpoint's place in its thread. No id holds NUL. */
export function placeOf(namespace: string, checkpointId: string): Buffer {
  return Buffer.from(`${namespace}\0${checkpointId}`);
}

export function splitPlace(place: Buffer): { namespace: string; checkpointId: string } {
  const at = place.indexOf(0);
  return { namespace: place.toString("utf8", 0, at), checkpointId: place.toString("utf8", at + 1) };
}

/** A thread as a member of the hints. */
export function memberOf({ tenant, threadId }: ThreadKey): string {
  return `${tenant}\0${threadId}`;
}

export function threadOf(member: string): ThreadKey {
  const at = member.indexOf("\0");
  return { tenant: member.slice(0, at), threadId: member.slice(at + 1) };
}
