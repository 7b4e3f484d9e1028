import { Code } from "@connectrpc/connect";
import { Counter, type Registry } from "prom-client";
import { z } from "zod";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { meshError } from "../errors.js";
import type { Answerer } from "./answerer.js";
import { EXTRACTIVE_MODEL, extractiveAnswerer } from "./extractive/extractive-answerer.js";
import type { LanguageModel } from "./language-model.js";
import { measuredModel } from "./model-metrics.js";
import { modelAnswerer } from "./model-answerer.js";
import { anthropicModel, openAiModel } from "./providers.js";

const url = z.url({ protocol: /^https?$/, error: "give an http:// or https:// URL" }).optional();

/** Variables of the language models. */
export const modelsConfigSchema = z.object({
  OPENAI_API_KEY: z.string().optional(),
  OPENAI_BASE_URL: url,
  OPENAI_MODEL: z.string().max(128, "give at most 128 characters").default("gpt-4.1-mini"),
  ANTHROPIC_API_KEY: z.string().optional(),
  ANTHROPIC_BASE_URL: url,
  ANTHROPIC_MODEL: z.string().max(128, "give at most 128 characters").default("claude-sonnet-4-5"),
});
export type ModelsConfig = z.infer<typeof modelsConfigSchema>;

/** The models that can answer. */
export interface Models {
  /** The model that answers when a request names none. */
  readonly defaultModel: string;
  /** All names, the default first. */
  readonly names: readonly string[];
  /** INVALID_ARGUMENT UNKNOWN_MODEL naming the known ones when `name` is none of them. */
  answerer(name?: string): Answerer;
  /** The language model of that name; undefined for the built-in one, which writes nothing of its own. Unknown names as in `answerer`. */
  languageModel(name?: string): LanguageModel | undefined;
  /** Counts citation numbers that a model made up. */
  countInvented(model: string, count: number): void;
}

/** The configured models: an OpenAI-compatible server's when one is set, Anthropic's when its key is set, the built-in one always. */
export function openModels(config: ModelsConfig, registry?: Registry): Models {
  const models: LanguageModel[] = [];
  if (config.OPENAI_API_KEY !== undefined || config.OPENAI_BASE_URL !== undefined) {
    const model = config.OPENAI_MODEL;
    models.push(openAiModel({ name: model, model, apiKey: config.OPENAI_API_KEY, baseUrl: config.OPENAI_BASE_URL }));
  }
  if (config.ANTHROPIC_API_KEY !== undefined) {
    const model = config.ANTHROPIC_MODEL;
    models.push(anthropicModel({ name: model, model, apiKey: config.ANTHROPIC_API_KEY, baseUrl: config.ANTHROPIC_BASE_URL }));
  }
  return modelsOf(models, registry);
}

/** Models from a list; the first is the default, the built-in one comes last. */
export function modelsOf(list: readonly LanguageModel[], registry?: Registry): Models {
  const invented = registry && inventedCounter(registry);
  const byName = new Map(list.map((model) => [model.name, registry === undefined ? model : measuredModel(model, registry)]));
  const names = [...byName.keys(), EXTRACTIVE_MODEL];
  const builtIn = extractiveAnswerer();
  const defaultModel = names[0] as string;
  const find = (name = defaultModel) => {
    const model = byName.get(name);
    if (model === undefined && name !== EXTRACTIVE_MODEL) throw unknownModel(name, names);
    return model;
  };
  const countInvented = (model: string, count: number) => {
    if (count > 0) invented?.inc({ model }, count);
  };
  return {
    defaultModel,
    names,
    languageModel: find,
    countInvented,
    answerer(name) {
      const model = find(name);
      return model === undefined ? builtIn : modelAnswerer(model, (count) => countInvented(model.name, count));
    },
  };
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
