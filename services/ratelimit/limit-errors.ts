import { Code } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { meshError } from "../../runtime/errors.js";

/** When to come back to a store that does not answer, in milliseconds. */
const STORE_RETRY_MS = 1_000;

/** RESOURCE_EXHAUSTED: the tokens come too late for this caller. */
export function bucketEmpty(waitMs: number) {
  return meshError(Code.ResourceExhausted, ErrorReason.BUCKET_EMPTY, "Not enough tokens in time; retry after the given delay.", {
    retryAfterMs: waitMs,
  });
}

/** RESOURCE_EXHAUSTED: as many wait as may. */
export function tooManyWaiters(waitMs: number) {
  return meshError(
    Code.ResourceExhausted,
    ErrorReason.TOO_MANY_WAITERS,
    "Too many requests wait for this key already; retry after the given delay.",
    { retryAfterMs: waitMs },
  );
}

/** INVALID_ARGUMENT: no wait helps. */
export function costAboveCapacity(field: string, cost: number, capacity: number) {
  const description = `${cost} is above the ${capacity} tokens that the limit ever holds: it can never pass; split the request or raise the limit's burst`;
  return meshError(Code.InvalidArgument, ErrorReason.COST_ABOVE_CAPACITY, `${field}: ${description}`, {
    violations: [{ field, description }],
    metadata: { capacity: String(capacity) },
  });
}

/** UNAVAILABLE: a fail-closed limit without its store. */
export function storeUnavailable(cause: unknown) {
  return meshError(Code.Unavailable, ErrorReason.RATE_LIMIT_UNAVAILABLE, "The limit cannot be checked now, and is fail-closed.", {
    cause,
    retryAfterMs: STORE_RETRY_MS,
  });
}

/** UNAVAILABLE: another replica answers. */
export function shuttingDown() {
  return meshError(Code.Unavailable, ErrorReason.SHUTTING_DOWN, "The rate limiter is shutting down; ask again.", { retryAfterMs: 0 });
}
