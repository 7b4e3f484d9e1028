import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { Counter, type Registry } from "prom-client";
import type {
  AcquireResponse,
  BatchCheckResponse,
  CheckResponse,
  LeaseQuotaResponse,
} from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import type { Decision, QuotaShare } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";

/** How decisions come out; "degraded" lets the caller through because the store does not answer. */
const OUTCOMES = ["allowed", "refused", "unlimited", "degraded"] as const;
type Outcome = (typeof OUTCOMES)[number];

/** Counts the decisions of this replica, each of a batch, by what callers are told. Neither keys nor tenants are labels. */
export function decisionMetrics(registry: Registry): Interceptor {
  const counter = new Counter({
    name: "ratelimit_decisions_total",
    help: "Decisions about keys, by outcome.",
    labelNames: ["outcome"],
    registers: [registry],
  });
  for (const outcome of OUTCOMES) counter.inc({ outcome }, 0);
  return (next) => async (request) => {
    try {
      const response = await next(request);
      if (!response.stream) {
        const outcomes = outcomesOf(request.method, response.message);
        for (const outcome of new Set(outcomes)) counter.inc({ outcome }, outcomes.filter((one) => one === outcome).length);
      }
      return response;
    } catch (error) {
      if (request.method === RateLimitService.method.acquire && isRefusal(error)) counter.inc({ outcome: "refused" });
      throw error;
    }
  };
}

function outcomesOf(method: unknown, message: unknown): Outcome[] {
  const { check, batchCheck, leaseQuota, acquire } = RateLimitService.method;
  switch (method) {
    case check:
    case acquire:
      return outcomeOf((message as CheckResponse | AcquireResponse).decision);
    case batchCheck:
      return (message as BatchCheckResponse).results.flatMap(({ result }) => (result.case === "decision" ? outcomeOf(result.value) : []));
    case leaseQuota:
      return (message as LeaseQuotaResponse).shares.filter((share) => share.error === undefined).map(outcomeOfShare);
    default:
      return [];
  }
}

function outcomeOf(decision: Decision | undefined): Outcome[] {
  if (decision === undefined) return [];
  if (decision.unlimited) return ["unlimited"];
  if (decision.degraded) return ["degraded"];
  return [decision.allowed ? "allowed" : "refused"];
}

function outcomeOfShare(share: QuotaShare): Outcome {
  if (share.unlimited) return "unlimited";
  if (share.degraded) return "degraded";
  return share.wait === undefined ? "allowed" : "refused";
}

function isRefusal(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.ResourceExhausted;
}
