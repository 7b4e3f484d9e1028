import { Counter, Histogram, type Registry } from "prom-client";
import { type Clock, systemClock } from "../clock.js";
import type { LanguageModel } from "./language-model.js";

const metricsOf = new WeakMap<Registry, ReturnType<typeof createMetrics>>();

const OUTCOMES = ["ok", "error", "abandoned"] as const;

/** The model, with its requests, tokens, cost and times counted. Several services of a process share the metrics. */
export function measuredModel(model: LanguageModel, registry: Registry, clock: Clock = systemClock): LanguageModel {
  const metrics = metricsOf.get(registry) ?? createMetrics(registry);
  metricsOf.set(registry, metrics);
  const { name } = model;
  showUnused(metrics, name);
  return {
    name,
    async reply(request, onText) {
      const started = clock.monotonic();
      const seconds = () => (clock.monotonic() - started) / 1000;
      let outcome: (typeof OUTCOMES)[number] = "abandoned";
      let silent = true;
      const noteFirst = () => {
        if (silent) metrics.firstToken.observe({ model: name }, seconds());
        silent = false;
      };
      try {
        const reply = await model.reply(request, (piece) => {
          noteFirst();
          onText?.(piece);
        });
        noteFirst();
        outcome = "ok";
        metrics.tokens.inc({ model: name, direction: "input" }, reply.usage.inputTokens);
        metrics.tokens.inc({ model: name, direction: "output" }, reply.usage.outputTokens);
        metrics.cost.inc({ model: name }, reply.usage.costUsd ?? 0);
        return reply;
      } catch (error) {
        outcome = request.signal?.aborted ? "abandoned" : "error";
        throw error;
      } finally {
        metrics.requests.inc({ model: name, outcome });
        metrics.duration.observe({ model: name }, seconds());
      }
    },
  };
}

/** Shows a model before its first request, once: zeroing a histogram again would forget what it counted. */
function showUnused(metrics: ReturnType<typeof createMetrics>, model: string): void {
  if (metrics.models.has(model)) return;
  metrics.models.add(model);
  for (const outcome of OUTCOMES) metrics.requests.inc({ model, outcome }, 0);
  for (const direction of ["input", "output"]) metrics.tokens.inc({ model, direction }, 0);
  metrics.cost.inc({ model }, 0);
  metrics.firstToken.zero({ model });
  metrics.duration.zero({ model });
}

function createMetrics(registry: Registry) {
  const registers = [registry];
  const buckets = [0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300];
  return {
    models: new Set<string>(),
    requests: new Counter({
      name: "llm_requests_total",
      help: "Requests to language models, by outcome: ok, error, or abandoned by the caller.",
      labelNames: ["model", "outcome"],
      registers,
    }),
    tokens: new Counter({
      name: "llm_tokens_total",
      help: "Tokens as the models counted them, or estimated where a server counts none, by direction: input or output.",
      labelNames: ["model", "direction"],
      registers,
    }),
    cost: new Counter({
      name: "llm_cost_dollars_total",
      help: "US dollars that the tokens cost by RAGENTS_LLM_PRICES; a model without a price costs nothing here.",
      labelNames: ["model"],
      registers,
    }),
    firstToken: new Histogram({
      name: "llm_first_token_seconds",
      help: "Time from a request to the first text of the reply.",
      labelNames: ["model"],
      buckets,
      registers,
    }),
    duration: new Histogram({
      name: "llm_request_duration_seconds",
      help: "Time from a request to the end of the reply.",
      labelNames: ["model"],
      buckets,
      registers,
    }),
  };
}
