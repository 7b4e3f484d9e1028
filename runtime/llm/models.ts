import { createHash } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { Counter, type Registry } from "prom-client";
import { z } from "zod";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { type Clock, systemClock } from "../clock.js";
import { commaList, ConfigError, integer } from "../config.js";
import { meshError } from "../errors.js";
import type { Answerer } from "./answerer.js";
import { EXTRACTIVE_MODEL, EXTRACTIVE_VERSION, extractiveAnswerer } from "./extractive/extractive-answerer.js";
import { answererWithStandIns, withStandIns } from "./fallback.js";
import type { LanguageModel } from "./language-model.js";
import { measuredModel } from "./model-metrics.js";
import { DEFAULT_CONTEXT_TOKENS, modelAnswerer } from "./model-answerer.js";
import { anthropicModel, openAiModel } from "./providers.js";
import { DEFAULT_PRICES, parsePrices, type Price, pricedModel } from "./prices.js";
import { reliableModel } from "./reliable-model.js";
import { tracedModel } from "./traced-model.js";

const url = z.url({ protocol: /^https?$/, error: "give an http:// or https:// URL" }).optional();

/** Variables of the language models. */
export const modelsConfigSchema = z.object({
  OPENAI_API_KEY: z.string().optional(),
  OPENAI_BASE_URL: url,
  OPENAI_MODEL: z.string().max(128, "give at most 128 characters").default("gpt-4.1-mini"),
  ANTHROPIC_API_KEY: z.string().optional(),
  ANTHROPIC_BASE_URL: url,
  ANTHROPIC_MODEL: z.string().max(128, "give at most 128 characters").default("claude-sonnet-4-5"),
  RAGENTS_LLM_RETRIES: integer({ default: 2, min: 0, max: 10, unit: "retries" }),
  RAGENTS_LLM_FIRST_TOKEN_TIMEOUT_S: integer({ default: 60, min: 1, max: 3_600, unit: "seconds" }),
  RAGENTS_LLM_TIMEOUT_S: integer({ default: 270, min: 1, max: 3_600, unit: "seconds" }),
  RAGENTS_LLM_FALLBACK: commaList([]),
  RAGENTS_LLM_CONTEXT_TOKENS: integer({ default: DEFAULT_CONTEXT_TOKENS, min: 500, max: 1_000_000, unit: "tokens" }),
  RAGENTS_LLM_PRICES: z
    .string()
    .default(DEFAULT_PRICES)
    .transform((text, context) => parsePrices(text) ?? (context.addIssue("give MODEL=INPUT/OUTPUT,... in US dollars a million tokens"), z.NEVER)),
});
export type ModelsConfig = z.infer<typeof modelsConfigSchema>;

/** The models that can answer. */
export interface Models {
  /** The model that answers when a request names none. */
  readonly defaultModel: string;
  /** All names, the default first. */
  readonly names: readonly string[];
  /**
   * The name that "NAME" or "NAME@VERSION" asks for, the default one for undefined. INVALID_ARGUMENT UNKNOWN_MODEL naming the known
   * ones when there is none, or none of this version.
   */
  nameOf(asked?: string): string;
  /** Eight digits that change when another model, or another server, answers by that name. */
  versionOf(name: string): string;
  /** INVALID_ARGUMENT UNKNOWN_MODEL naming the known ones when `name` is none of them. */
  answerer(name?: string): Answerer;
  /** The language model of that name; undefined for the built-in one, which writes nothing of its own. Unknown names as in `answerer`. */
  languageModel(name?: string): LanguageModel | undefined;
  /** Whether the built-in model stands in for the one of that name when neither it nor another one can be reached. */
  builtInStandsIn(name?: string): boolean;
  /** Counts citation numbers that a model made up. */
  countInvented(model: string, count: number): void;
}

export interface OpenModelsOptions {
  registry?: Registry;
  clock?: Clock;
  /** Puts something around each model and all of its tries. Default nothing. */
  around?: (model: LanguageModel, price: Price | undefined) => LanguageModel;
}

/** The configured models: an OpenAI-compatible server's when one is set, Anthropic's when its key is set, the built-in one always. */
export function openModels(config: ModelsConfig, options: OpenModelsOptions = {}): Models {
  const models: LanguageModel[] = [];
  const versions = new Map<string, string>();
  if (config.OPENAI_API_KEY !== undefined || config.OPENAI_BASE_URL !== undefined) {
    const model = config.OPENAI_MODEL;
    versions.set(model, versionHash("openai", model, config.OPENAI_BASE_URL));
    models.push(openAiModel({ name: model, model, apiKey: config.OPENAI_API_KEY, baseUrl: config.OPENAI_BASE_URL }));
  }
  if (config.ANTHROPIC_API_KEY !== undefined) {
    const model = config.ANTHROPIC_MODEL;
    versions.set(model, versionHash("anthropic", model, config.ANTHROPIC_BASE_URL));
    models.push(anthropicModel({ name: model, model, apiKey: config.ANTHROPIC_API_KEY, baseUrl: config.ANTHROPIC_BASE_URL }));
  }
  const reliability = {
    clock: options.clock ?? systemClock,
    retries: config.RAGENTS_LLM_RETRIES,
    firstTokenMs: config.RAGENTS_LLM_FIRST_TOKEN_TIMEOUT_S * 1000,
    totalMs: config.RAGENTS_LLM_TIMEOUT_S * 1000,
  };
  const { registry, around = (model) => model } = options;
  const reliable = models.map((model) => {
    const priced = pricedModel(model, config.RAGENTS_LLM_PRICES);
    // Each try is measured and traced, not what they come to together.
    const measured = registry === undefined ? priced : measuredModel(priced, registry, reliability.clock);
    return around(reliableModel(tracedModel(measured), reliability), config.RAGENTS_LLM_PRICES.get(model.name));
  });
  return modelsOf(reliable, { versions, standIns: config.RAGENTS_LLM_FALLBACK, contextTokens: config.RAGENTS_LLM_CONTEXT_TOKENS, ...(registry && { registry }) });
}

export interface ModelsOptions {
  registry?: Registry;
  /** Names of the models that stand in for one that cannot be reached, in order. Default none. */
  standIns?: readonly string[];
  /** Tokens of passages that a model is shown. */
  contextTokens?: number;
  /** Versions by name. Default: hashes of the names. */
  versions?: ReadonlyMap<string, string>;
}

/** Models from a list; the first is the default, the built-in one comes last. Throws ConfigError for an unknown stand-in. */
export function modelsOf(list: readonly LanguageModel[], { registry, standIns = [], contextTokens, versions }: ModelsOptions = {}): Models {
  const invented = registry && inventedCounter(registry);
  for (const { name } of list) invented?.inc({ model: name }, 0);
  const names = [...new Set(list.map(({ name }) => name)), EXTRACTIVE_MODEL];
  const strangers = standIns.filter((name) => !names.includes(name));
  if (strangers.length > 0) throw new ConfigError(`RAGENTS_LLM_FALLBACK: ${strangers.join(", ")}: not configured; known: ${names.join(", ")}`);
  const standInsOf = (name: string) => standIns.filter((other) => other !== name);
  const plain = new Map(list.map((model) => [model.name, model]));
  const byName = new Map(
    list.map((model) => [model.name, withStandIns(model, standInsOf(model.name).flatMap((name) => plain.get(name) ?? []))]),
  );
  const builtIn = extractiveAnswerer();
  const defaultModel = names[0] as string;
  const versionOf = (name: string) => (name === EXTRACTIVE_MODEL ? versionHash(name, EXTRACTIVE_VERSION) : (versions?.get(name) ?? versionHash(name)));
  const nameOf = (asked = defaultModel) => {
    // Some providers' names have an @ of their own.
    const found = names.find((name) => name === asked || `${name}@${versionOf(name)}` === asked);
    if (found === undefined) throw unknownModel(asked, asked.includes("@") ? names.map((name) => `${name}@${versionOf(name)}`) : names);
    return found;
  };
  const find = (name?: string) => byName.get(nameOf(name));
  const countInvented = (model: string, count: number) => {
    if (count > 0) invented?.inc({ model }, count);
  };
  return {
    defaultModel,
    names,
    versionOf,
    nameOf,
    languageModel: find,
    builtInStandsIn: (name) => nameOf(name) !== EXTRACTIVE_MODEL && standIns.includes(EXTRACTIVE_MODEL),
    countInvented,
    answerer(name) {
      const model = find(name);
      if (model === undefined) return builtIn;
      const alone = (one: string) => {
        const known = plain.get(one);
        return known === undefined ? builtIn : modelAnswerer(known, { ...(contextTokens !== undefined && { contextTokens }), onInvented: (count) => countInvented(one, count) });
      };
      return answererWithStandIns(alone(model.name), standInsOf(model.name).map(alone));
    },
  };
}

function versionHash(...parts: (string | undefined)[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 8);
}

/** One counter a registry, however many services of the process open models. */
function inventedCounter(registry: Registry): Counter<"model"> {
  const name = "llm_invented_citations_total";
  const existing = registry.getSingleMetric(name);
  if (existing instanceof Counter) return existing;
  const help = "Citation numbers in models' answers that no passage has; they are dropped.";
  return new Counter({ name, help, labelNames: ["model"], registers: [registry] });
}

function unknownModel(name: string, known: readonly string[]) {
  return meshError(Code.InvalidArgument, ErrorReason.UNKNOWN_MODEL, `There is no model ${JSON.stringify(name)}; known: ${known.join(", ")}.`, {
    metadata: { known: known.join(",") },
    violations: [{ field: "config_overrides.model", description: `must be one of ${known.join(", ")}` }],
  });
}
