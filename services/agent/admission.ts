import { Code } from "@connectrpc/connect";
import type { RateLimiter } from "../../clients/ratelimit/index.js";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { meshError } from "../../runtime/errors.js";

/** The key under which a tenant's runs are counted. */
const RUNS_KEY = "agent.runs";

/** Takes one of the tenant's runs. Throws RESOURCE_EXHAUSTED with the time to wait when it has none left. */
export async function admitRun(limiter: Pick<RateLimiter, "check" | "windows">): Promise<void> {
  const { allowed, waitMs } = await limiter.check(RUNS_KEY);
  if (allowed) return;
  throw meshError(Code.ResourceExhausted, ErrorReason.BUCKET_EMPTY, "The tenant has asked as much as it may for now; retry after the given delay.", {
    metadata: { key: RUNS_KEY, ...(await scarcest(limiter)) },
    retryAfterMs: waitMs,
  });
}

/** The window that has the least left, for people and programs that plan; nothing when it cannot be asked for. */
async function scarcest(limiter: Pick<RateLimiter, "windows">): Promise<Record<string, string>> {
  const windows = await limiter.windows(RUNS_KEY).catch(() => []);
  const [window] = windows.sort((a, b) => a.remaining - b.remaining);
  return window === undefined ? {} : { limit: String(window.limit), window_s: String(window.periodMs / 1000) };
}
