import { ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { retryAfterMsOf } from "../runtime/errors.js";

/** The headers by which an answer says what a limit has left (draft-ietf-httpapi-ratelimit-headers). */
export const RATE_LIMIT_HEADERS = ["ratelimit", "ratelimit-policy"];

/** Those of a refusal; empty for what no limit refused. Its ErrorInfo names the limit (key), and its tokens and window (limit, window_s). */
export function rateLimitHeaders(error: unknown): Record<string, string> {
  if (!(error instanceof ConnectError)) return {};
  const info = error.findDetails(ErrorInfoSchema).find(({ reason }) => reason === "BUCKET_EMPTY" || reason === "BUDGET_EXHAUSTED");
  if (info === undefined) return {};
  const { key = "default", limit, window_s: seconds } = info.metadata;
  const name = JSON.stringify(key.replaceAll(/[^\x20-\x7e]/g, "?"));
  const waitMs = retryAfterMsOf(error);
  return {
    ratelimit: `${name};r=0${waitMs === undefined ? "" : `;t=${Math.ceil(waitMs / 1000)}`}`,
    ...(limit !== undefined && { "ratelimit-policy": `${name};q=${limit}${seconds === undefined ? "" : `;w=${seconds}`}` }),
  };
}
