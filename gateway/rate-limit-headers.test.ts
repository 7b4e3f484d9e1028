import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { meshError } from "../runtime/errors.js";
import { rateLimitHeaders } from "./rate-limit-headers.js";

const refused = (metadata: Record<string, string>, retryAfterMs?: number) =>
  meshError(Code.ResourceExhausted, ErrorReason.BUCKET_EMPTY, "No.", { metadata, ...(retryAfterMs !== undefined && { retryAfterMs }) });

test("a limit's refusal says when there is something again, and of how much", () => {
  expect(rateLimitHeaders(refused({ key: "agent.runs", limit: "60", window_s: "60" }, 1500))).toEqual({
    ratelimit: '"agent.runs";r=0;t=2',
    "ratelimit-policy": '"agent.runs";q=60;w=60',
  });
  expect(rateLimitHeaders(refused({ key: 'a"b\n' }))).toEqual({ ratelimit: '"a\\"b?";r=0' });
});

test("other errors say nothing of limits", () => {
  expect(rateLimitHeaders(new Error("x"))).toEqual({});
  expect(rateLimitHeaders(meshError(Code.ResourceExhausted, ErrorReason.OVERLOADED, "x"))).toEqual({});
});
