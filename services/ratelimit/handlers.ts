import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { ConnectError, type ServiceImpl } from "@connectrpc/connect";
import type { CheckRequest, QuotaShareRequest, RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { Priority } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import { type CallContext, currentCall } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { toStatus } from "../../runtime/grpc-status.js";
import { LEASE_MS } from "./bucket.js";
import type { Budgets } from "./budgets/budgets.js";
import type { Limiter } from "./limiter.js";

/** Time for an answer to reach its caller before the caller's deadline, in milliseconds. */
const ANSWER_MS = 20;
const DEFAULT_RESERVATION_MS = 600_000;

export interface RateLimitHandlerOptions {
  limiter: Limiter;
  budgets: Budgets;
  clock: Clock;
}

/** The rate limit service over a limiter and budgets. */
export function rateLimitHandlers({ limiter, budgets, clock }: RateLimitHandlerOptions): ServiceImpl<typeof RateLimitService> {
  return {
    async check(request) {
      return { decision: await limiter.check(call().identity, request.key, request.cost ?? 1) };
    },
    async batchCheck({ checks }) {
      const { identity } = call();
      const result = ({ key, cost }: CheckRequest) =>
        limiter.check(identity, key, cost ?? 1).then(
          (decision) => ({ result: { case: "decision" as const, value: decision } }),
          (error: unknown) => ({ result: { case: "error" as const, value: statusOf(error) } }),
        );
      return { results: await Promise.all(checks.map(result)) };
    },
    async leaseQuota({ holder, sequence, shares }) {
      const { identity } = call();
      const given = (share: QuotaShareRequest) =>
        limiter.lease(identity, { holder, sequence: Number(sequence), ...share }).catch((error: unknown) => ({ error: statusOf(error) }));
      return { shares: await Promise.all(shares.map(given)), ttl: durationFromMs(LEASE_MS) };
    },
    async acquire(request) {
      const { identity, deadline, signal } = call();
      const wanted = request.maxWait === undefined ? Number.POSITIVE_INFINITY : durationMs(request.maxWait);
      const { decision, waitedMs } = await limiter.acquire(identity, request.key, request.cost ?? 1, {
        priority: request.priority === Priority.UNSPECIFIED ? Priority.NORMAL : request.priority,
        maxWaitMs: Math.max(0, Math.min(wanted, deadline - clock.now() - ANSWER_MS)),
        signal,
      });
      return { decision, waited: durationFromMs(Math.round(waitedMs)) };
    },
    async getLimit({ key }) {
      return { decision: await limiter.peek(call().identity, key, 1) };
    },
    async reserveBudget({ key, reservation, amounts, ttl }) {
      const ttlMs = ttl === undefined ? DEFAULT_RESERVATION_MS : durationMs(ttl);
      return { budgets: await budgets.reserve(call().identity, key, reservation, amounts, ttlMs) };
    },
    settleReservation: ({ key, reservation, used }) => budgets.settle(call().identity, key, reservation, used),
    async getBudgets({ key }) {
      return { budgets: await budgets.statusOf(call().identity, key) };
    },
  };
}

/** The error that one request of a batch alone would have answered. Rethrows what is no caller's business. */
function statusOf(error: unknown) {
  if (error instanceof ConnectError) return toStatus(error);
  throw error;
}

function call(): CallContext {
  const current = currentCall();
  if (current === undefined) throw new Error("a handler runs inside a call");
  return current;
}
