import { AIMessageChunk } from "@langchain/core/messages";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { ManualClock } from "../../tests/manual-clock.js";
import type { LanguageModel } from "./language-model.js";
import { measuredModel } from "./model-metrics.js";
import { parsePrices, pricedModel } from "./prices.js";

function setUp() {
  const clock = new ManualClock();
  const registry = new Registry();
  const model: LanguageModel = {
    name: "m",
    async reply({ maxTokens, signal }, onText) {
      await clock.advance(300);
      onText?.("first ");
      await clock.advance(700);
      signal?.throwIfAborted();
      if (maxTokens === 1) throw new Error("the model failed");
      onText?.("second");
      return { message: new AIMessageChunk("first second"), text: "first second", usage: { inputTokens: 20, outputTokens: 2 }, model: "m" };
    },
  };
  const values = async (name: string) => (await registry.getMetricsAsJSON()).find((metric) => metric.name === name)?.values ?? [];
  const sum = async (name: string) => (await values(name)).find((value) => "metricName" in value && value.metricName === `${name}_sum`)?.value;
  const prices = parsePrices("m=2/30")!;
  return { model: measuredModel(pricedModel(model, prices), registry, clock), again: () => measuredModel(model, registry, clock), values, sum };
}

const request = { messages: [], temperature: 0, maxTokens: 100 };

test("passes text and reply on, and counts tokens, the first text and the whole", async () => {
  const { model, values, sum } = setUp();
  const texts: string[] = [];
  const reply = await model.reply(request, (piece) => texts.push(piece));
  expect(reply.text).toBe("first second");
  expect(texts).toEqual(["first ", "second"]);
  expect(await values("llm_requests_total")).toEqual([
    { labels: { model: "m", outcome: "ok" }, value: 1 },
    { labels: { model: "m", outcome: "error" }, value: 0 },
    { labels: { model: "m", outcome: "abandoned" }, value: 0 },
  ]);
  // 20 tokens at 2 dollars a million, and 2 at 30.
  expect(await values("llm_cost_dollars_total")).toEqual([{ labels: { model: "m" }, value: 0.0001 }]);
  expect(await values("llm_tokens_total")).toEqual([
    { labels: { model: "m", direction: "input" }, value: 20 },
    { labels: { model: "m", direction: "output" }, value: 2 },
  ]);
  expect(await sum("llm_first_token_seconds")).toBeCloseTo(0.3);
  expect(await sum("llm_request_duration_seconds")).toBeCloseTo(1);
});

test("counts failures and callers that leave, in one set of metrics for all models of a registry", async () => {
  const { model, again, values } = setUp();
  await expect(model.reply({ ...request, maxTokens: 1 })).rejects.toThrow("the model failed");
  const caller = new AbortController();
  await expect(again().reply({ ...request, signal: caller.signal }, () => caller.abort(new Error("gone")))).rejects.toThrow("gone");
  expect(await values("llm_requests_total")).toEqual([
    { labels: { model: "m", outcome: "ok" }, value: 0 },
    { labels: { model: "m", outcome: "error" }, value: 1 },
    { labels: { model: "m", outcome: "abandoned" }, value: 1 },
  ]);
});

test.each(["m", "m=1", "m=1/2/3", "m=-1/2", "=1/2"])("prices %o are not understood", (text) => {
  expect(parsePrices(text)).toBeUndefined();
});
