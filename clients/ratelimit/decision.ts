import { Code } from "@connectrpc/connect";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import type { Decision } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import { hasCode, reasonName, reasonOf, retryAfterMsOf } from "../../runtime/errors.js";

export interface RateLimitDecision {
  allowed: boolean;
  /** Until a request of this cost can be allowed, in milliseconds; 0 when allowed. */
  waitMs: number;
  /** Whole tokens left; Infinity when no limit applies. */
  remaining: number;
  /** Whether the limiter could not be asked, and `onUnavailable` or the limit's own choice decided. */
  degraded: boolean;
}

/** One window of a limit. */
export interface LimitWindow {
  /** The time in which `limit` tokens come back, in milliseconds. */
  periodMs: number;
  limit: number;
  /** Whole tokens left now. */
  remaining: number;
}

/** When to ask again where an error does not say, in milliseconds. */
const DEFAULT_RETRY_MS = 1_000;

export function fromProto(decision: Decision): RateLimitDecision {
  return {
    allowed: decision.allowed,
    waitMs: decision.wait === undefined ? 0 : durationMs(decision.wait),
    remaining: decision.unlimited ? Number.POSITIVE_INFINITY : Number(decision.remaining),
    degraded: decision.degraded,
  };
}

/** The decision of a limiter that cannot be asked. Rethrows what is not about that. */
export function withoutLimiter(error: unknown, open: boolean): RateLimitDecision {
  if (!isUnavailable(error)) throw error;
  const allowed = open && !saysClosed(error);
  return { allowed, waitMs: allowed ? 0 : (retryAfterMsOf(error) ?? DEFAULT_RETRY_MS), remaining: 0, degraded: true };
}

/** The service cannot be reached or is silent, or its store is. */
export function isUnavailable(error: unknown): boolean {
  return hasCode(error, Code.Unavailable) || hasCode(error, Code.DeadlineExceeded);
}

/** The service itself says that a fail-closed limit cannot be checked: that holds whatever its absence would mean. */
export function saysClosed(error: unknown): boolean {
  return reasonOf(error) === reasonName(ErrorReason.RATE_LIMIT_UNAVAILABLE);
}
