import { expect, test } from "vitest";
import { Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { backgroundCall, runInCall } from "../../runtime/call-context.js";
import { answerScope } from "./answer-cache.js";
import type { RunSettings } from "./settings.js";

const settings = { agent: "simple", version: "1", collection: "docs", model: "extractive", topK: 5, mode: "hybrid", filters: {}, temperature: 0, maxTokens: 100 } as RunSettings;

function scopeOf(user: string, restricted: boolean, roles = [Role.READER]) {
  const call = backgroundCall({ tenant: "t", user, roles }, "request", new AbortController().signal);
  return runInCall(call, () => answerScope(settings, "m1", { epoch: 1n, restricted }));
}

test("answers are shared by all callers of a tenant while everyone may read everything", () => {
  expect(scopeOf("ada", false)).toEqual(scopeOf("bob", false));
});

test("answers are shared only by those who may read the same while some documents are restricted", () => {
  expect(scopeOf("ada", true)).not.toEqual(scopeOf("bob", true));
  expect(scopeOf("ada", true)).not.toEqual(scopeOf("ada", true, [Role.WRITER]));
  expect(scopeOf("ada", true, [Role.ADMIN])).toEqual(scopeOf("bob", true, [Role.ADMIN]));
});

test.each<Partial<RunSettings>>([
  { ranking: { rerank: "builtin" } },
  { ranking: { rerank: "builtin", neighbours: 1 } },
  { rewriteStrategy: "hyde" },
  { mode: "keyword" },
  { version: "2" },
  { filters: { kind: "valve" } },
])("answers by $ranking $rewriteStrategy $mode $filters are not those of other settings", (other) => {
  const scopeWith = (own: Partial<RunSettings>) =>
    runInCall(backgroundCall({ tenant: "t" }, "request", new AbortController().signal), () => answerScope({ ...settings, ...own }, "m1", { epoch: 1n, restricted: false }));
  expect(scopeWith(other)).not.toEqual(scopeWith({}));
  expect(scopeWith(other)).toEqual(scopeWith(structuredClone(other)));
});
