import { createHash, randomUUID } from "node:crypto";
import { currentCall } from "../../runtime/call-context.js";

/** How a run is known. */
export interface RunIdentity {
  readonly runId: string;
  /** For a run that begins a thread. */
  readonly newThreadId: string;
  /** What was asked, as a hash; empty without a key. */
  readonly fingerprint: string;
}

/**
 * Without a key the run is a new one. With one, the run of the same user's request with the same key: run and new thread are
 * named by it, so that every replica finds them.
 */
export function runIdentity(key: string, request: () => unknown): RunIdentity {
  if (key === "") return { runId: randomUUID(), newThreadId: randomUUID(), fingerprint: "" };
  const user = currentCall()?.identity.user ?? "";
  return {
    runId: uuidOf(["run", user, key]),
    newThreadId: uuidOf(["thread", user, key]),
    fingerprint: uuidOf(["request", JSON.stringify(request())]),
  };
}

/** A hash in the form of an id (a version 8 UUID). */
function uuidOf(parts: readonly string[]): string {
  const hash = createHash("sha256").update(parts.join("\0")).digest("hex");
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-a${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
}
