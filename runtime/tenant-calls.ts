import { Code, type Interceptor } from "@connectrpc/connect";
import { z } from "zod";
import { Access } from "../gen/ragents/auth/v1/access_pb.js";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { currentCall } from "./call-context.js";
import { integer } from "./config.js";
import { meshError } from "./errors.js";
import { accessOf } from "./identity/access.js";

/** When a refused caller may come back, in milliseconds: some call of the tenant has most likely ended by then. */
const RETRY_AFTER_MS = 1_000;

/** How many calls of one tenant a replica works on at once. */
export const tenantCallsSchema = z.object({
  RAGENTS_TENANT_CALLS: integer({ default: 0, min: 0, max: 1_000_000, unit: "calls; 0 for no limit" }),
});

/**
 * Lets each tenant have `limit` calls under way at this server, streams until they end; beyond that they are refused with
 * RESOURCE_EXHAUSTED QUOTA_EXCEEDED at once. What services ask of each other for a tenant is not counted: the tenant's own call is.
 * @param limit at least 1
 */
export function tenantCallsInterceptor(limit: number): Interceptor {
  const underWay = new Map<string, number>();
  return (next) => async (request) => {
    const { tenant, service } = currentCall()!.identity;
    if (service !== undefined || accessOf(request.method) === Access.PUBLIC) return next(request);
    const calls = underWay.get(tenant) ?? 0;
    if (calls >= limit) throw tooManyCalls(limit);
    underWay.set(tenant, calls + 1);
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      const left = underWay.get(tenant)! - 1;
      if (left === 0) underWay.delete(tenant);
      else underWay.set(tenant, left);
    };
    try {
      const response = await next(request);
      if (!response.stream) {
        end();
        return response;
      }
      // Also of a stream that nobody begins to read.
      request.signal.addEventListener("abort", end, { once: true });
      return { ...response, message: untilEnd(response.message, end) };
    } catch (error) {
      end();
      throw error;
    }
  };
}

async function* untilEnd<T>(source: AsyncIterable<T>, end: () => void): AsyncGenerator<T> {
  try {
    yield* source;
  } finally {
    end();
  }
}

function tooManyCalls(limit: number) {
  const message = `The tenant has ${limit} calls under way, as many as it may have at once; retry when one has ended.`;
  const metadata = { quota: "calls", limit: String(limit) };
  return meshError(Code.ResourceExhausted, ErrorReason.QUOTA_EXCEEDED, message, { metadata, retryAfterMs: RETRY_AFTER_MS });
}
