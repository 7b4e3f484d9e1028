import { create } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import { MissingContentsSchema } from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { meshError } from "../../runtime/errors.js";
import { HASH_BYTES } from "./content.js";

/** Hashes that one error names: enough to say what is wrong, small enough for a trailer. */
const MAX_NAMED_HASHES = 64;

export function missingContents(hashes: readonly Buffer[]): ConnectError {
  const error = meshError(
    Code.FailedPrecondition,
    ErrorReason.MISSING_CONTENTS,
    `${hashes.length} segments are named that the service does not have; send their contents along.`,
    { metadata: { missing: String(hashes.length) } },
  );
  const named = Buffer.concat(hashes.slice(0, MAX_NAMED_HASHES), Math.min(hashes.length, MAX_NAMED_HASHES) * HASH_BYTES);
  error.details.push({ desc: MissingContentsSchema, value: create(MissingContentsSchema, { hashes: named }) });
  return error;
}

export function contentsNotFound(threadId: string): ConnectError {
  return meshError(
    Code.NotFound,
    ErrorReason.MISSING_CONTENTS,
    "A segment is not there: the checkpoint that names it was deleted; get the checkpoint again.",
    { metadata: { thread_id: threadId } },
  );
}

export function leaseLost(threadId: string): ConnectError {
  return meshError(
    Code.FailedPrecondition,
    ErrorReason.LEASE_LOST,
    "The lease on this thread was taken over or given back; stop writing, and acquire a new one to go on.",
    { metadata: { thread_id: threadId } },
  );
}

export function threadLeased(threadId: string, retryAfterMs: number): ConnectError {
  return meshError(
    Code.FailedPrecondition,
    ErrorReason.THREAD_LEASED,
    "Another writer holds this thread; try again when its lease has ended.",
    { metadata: { thread_id: threadId }, retryAfterMs },
  );
}

export function checkpointNotFound(threadId: string, checkpointId: string): ConnectError {
  const what = checkpointId === "" ? "The thread has no checkpoint." : "The thread has no checkpoint of this id.";
  return meshError(Code.NotFound, ErrorReason.CHECKPOINT_NOT_FOUND, what, {
    metadata: { thread_id: threadId, checkpoint_id: checkpointId },
  });
}

/** `checkpoints` are the ids of the damaged ones; at most ten are named. */
export function checkpointDamaged(threadId: string, checkpoints: readonly string[], cause?: unknown): ConnectError {
  const named = checkpoints.slice(0, 10).join(", ");
  return meshError(
    Code.DataLoss,
    ErrorReason.CHECKPOINT_DAMAGED,
    `The stored bytes are damaged of checkpoint ${named}; other checkpoints of the thread can be read.`,
    { metadata: { thread_id: threadId, checkpoint_id: named, damaged: String(checkpoints.length) }, cause },
  );
}

export function threadNotFound(threadId: string): ConnectError {
  return meshError(Code.NotFound, ErrorReason.THREAD_NOT_FOUND, "No thread of this id.", {
    metadata: { thread_id: threadId },
  });
}

export function threadExists(threadId: string): ConnectError {
  return meshError(Code.AlreadyExists, ErrorReason.THREAD_EXISTS, "A thread of this id exists; delete it first or choose another id.", {
    metadata: { thread_id: threadId },
  });
}

/** The database or Redis cannot be reached, or has no connection free. */
export function storeUnavailable(cause: unknown): ConnectError {
  return meshError(
    Code.Unavailable,
    ErrorReason.DEPENDENCY_UNAVAILABLE,
    "The checkpoint service's store cannot be reached; try again.",
    { cause, retryAfterMs: 1000 },
  );
}

/** Redis refuses writes because its memory is full. */
export function storeFull(cause: unknown): ConnectError {
  return meshError(
    Code.ResourceExhausted,
    ErrorReason.CHECKPOINT_STORE_FULL,
    "The checkpoint service's store is full; delete threads, or give it more memory.",
    { cause },
  );
}

export function threadQuotaExceeded(limit: number): ConnectError {
  const message = `The tenant has all the ${limit} threads it may; delete threads, or ask for a higher quota.`;
  return meshError(Code.ResourceExhausted, ErrorReason.QUOTA_EXCEEDED, message, { metadata: { quota: "threads", limit: String(limit) } });
}
