import { randomBytes, randomUUID } from "node:crypto";

/**
 * A cached answer can be given in less time than a thread can be stored. So the thread is stored after the answer was
 * given, as a copy of a stored seed that its id names: question and answer, written once, before the answer may be
 * given from the cache. A thread that was told of but never stored, because the process was killed in between, is the
 * conversation of its seed. A seed tells no more than the answer that its holder was given.
 */
const THREAD = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.([\w-]{22})$/;

export function newSeed(): string {
  return randomBytes(16).toString("base64url");
}

/** The thread that holds the seed itself. */
export function seedThread(seed: string): string {
  return `seed.${seed}`;
}

/** Whether a thread is a seed: nobody's conversation. */
export function isSeedThread(threadId: string): boolean {
  return threadId.startsWith("seed.");
}

/** An id, at a time, for a thread that begins with a seed's conversation: a UUID of version 7 and the seed. */
export function threadGrownFrom(seed: string, now: number): string {
  const time = now.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}.${seed}`;
}

/** When a thread grew from its seed, in milliseconds since the epoch; 0 for all others. */
export function grownAt(threadId: string): number {
  return seedOf(threadId) === undefined || threadId[14] !== "7" ? 0 : Number.parseInt(threadId.slice(0, 8) + threadId.slice(9, 13), 16);
}

/** The seed that a thread grew from; undefined for all other threads. */
export function seedOf(threadId: string): string | undefined {
  return THREAD.exec(threadId)?.[1];
}
