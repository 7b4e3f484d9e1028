import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { z } from "zod";
import { ConfigError } from "../config.js";
import type { LanguageModel, ModelReply, ModelRequest, Usage } from "./language-model.js";

/** What a model's tokens cost, in US dollars for a million. */
export interface Price {
  readonly input: number;
  readonly output: number;
}

const amount = z.number("give US dollars for a million tokens, e.g. 0.4").min(0, "give no negative price").max(1_000_000, "give at most 1,000,000");
const tableSchema = z.record(z.string(), z.strictObject({ input: amount, output: amount }));

/** Reads a YAML file of prices by model: `gpt-4.1-mini: { input: 0.40, output: 1.60 }`. Throws ConfigError naming the file. */
export function readPrices(file: string): ReadonlyMap<string, Price> {
  let content: unknown;
  try {
    content = parse(readFileSync(file, "utf8")) ?? {};
  } catch (cause) {
    throw new ConfigError(`RAGENTS_LLM_PRICES: ${file} cannot be read: ${(cause as Error).message}`);
  }
  const result = tableSchema.safeParse(content);
  if (result.success) return new Map(Object.entries(result.data));
  const lines = result.error.issues.map(({ path, message }) => `  ${path.join(".")}: ${message}`);
  throw new ConfigError(`RAGENTS_LLM_PRICES: ${file} is not a table of prices:\n${lines.join("\n")}`);
}

/** What so many tokens cost, in US dollars. */
export function costOf(usage: Usage, price: Price): number {
  return (usage.inputTokens * price.input + usage.outputTokens * price.output) / 1_000_000;
}

/** The model, with what each reply cost in its usage. */
export function pricedModel(model: LanguageModel, price: Price): LanguageModel {
  return {
    name: model.name,
    async *stream(request: ModelRequest): AsyncGenerator<string, ModelReply> {
      const reply = yield* model.stream(request);
      return { ...reply, usage: { ...reply.usage, costUsd: costOf(reply.usage, price) } };
    },
  };
}
