import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RateLimiter } from "../../clients/ratelimit/index.js";
import { reasonOf, retryAfterMsOf } from "../../runtime/errors.js";
import { failureOf } from "../failure-of.js";
import { type OpenAiDouble, startOpenAiDouble } from "../servers/openai-double.js";
import { type AgentMesh, startAgentMesh } from "./agent-mesh.js";

const BUDGET = 10_000;
/** What the double counts for a reply of four words. */
const USED = { inputTokens: 100n, outputTokens: 4n, totalTokens: 104n };

let folder: string;
let double: OpenAiDouble;
let mesh: AgentMesh;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ragents-usage-"));
  const limits = join(folder, "limits.yaml");
  await writeFile(limits, `budgets: { local: { llm_tokens: { per_day: ${BUDGET} } } }\n`);
  double = await startOpenAiDouble(() => ({ text: "At ninety bar [1]." }));
  mesh = await startAgentMesh({
    RAGENTS_RATELIMIT_CONFIG: limits,
    OPENAI_BASE_URL: double.baseUrl,
    OPENAI_MODEL: "m",
    RAGENTS_LLM_PRICES: "m=2/10",
  });
  await mesh.ingest({ valve: "The valve opens at ninety bar." });
});
afterAll(async () => {
  await mesh.stop();
  await double.close();
  await rm(folder, { recursive: true });
});

const series = async (name: string) => {
  const { values } = await mesh.metrics.registry.getSingleMetric(name)!.get();
  return values.map(({ labels, value }) => ({ ...labels, value }));
};

test("what a question used is in its answer and in the metrics, by tenant, agent and model", async () => {
  const { metadata } = await mesh.agent.query({ query: "When does the valve open?", agentType: "simple" });
  expect(metadata?.usage).toMatchObject(USED);
  expect(metadata?.usage?.costUsd).toBeCloseTo((100 * 2 + 4 * 10) / 1_000_000, 9);
  const run = { tenant: "local", agent: "simple", model: "m" };
  expect(await series("agent_tokens_total")).toEqual([
    { ...run, direction: "input", value: 100 },
    { ...run, direction: "output", value: 4 },
  ]);
  expect(await series("agent_cost_dollars_total")).toEqual([{ ...run, value: metadata?.usage?.costUsd }]);
});

test("what is cached costs nothing", async () => {
  const { metadata } = await mesh.agent.query({ query: "When does the valve open?" });
  expect(metadata).toMatchObject({ cached: true, usage: { totalTokens: 0n, costUsd: 0 } });
});

test("a budget is held before a model is asked, and charged what that used", async () => {
  const fresh = (maxTokens: number) => ({ query: "When does the valve open?", configOverrides: { bypassCache: true, maxTokens } });
  const before = double.requests.length;
  await mesh.agent.query(fresh(4_000));
  // Two times 4,000 and more were held so far, 208 are charged: the next one has room.
  await mesh.agent.query(fresh(4_000));
  await mesh.agent.query(fresh(4_000));
  expect(double.requests.length).toBe(before + 3);
  // What is left is less than the most that this one can use.
  const held = await exhaust();
  const error = await failureOf(mesh.agent.query(fresh(4_000)));
  expect([error.code, reasonOf(error)]).toEqual([Code.ResourceExhausted, "BUDGET_EXHAUSTED"]);
  expect(retryAfterMsOf(error)).toBeGreaterThan(1_000);
  expect(double.requests.length).toBe(before + 3);
  // What the rag service answers by itself is paid from the same budget.
  const single = { collection: "default", query: "When does the valve open?" };
  expect(reasonOf(await failureOf(mesh.rag.answer(single)))).toBe("BUDGET_EXHAUSTED");
  await held();
  await mesh.agent.query(fresh(4_000));
  expect(await mesh.rag.answer(single)).toMatchObject({ model: "m", usage: { totalTokens: 104n } });
});

/** Holds most of the budget; what it returns lets it go. */
async function exhaust(): Promise<() => Promise<void>> {
  const limiter = new RateLimiter({ address: mesh.rateLimitAddress });
  const reservation = await limiter.reserveBudget("llm", { llm_tokens: 8_000 });
  return async () => {
    await reservation.settle({ llm_tokens: 0 });
    await limiter.close();
  };
}
