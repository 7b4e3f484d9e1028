import { Counter, type Registry } from "prom-client";
import type { Usage } from "../../runtime/llm/language-model.js";

/** Tenants with series of their own; those that come later share one, so that a busy mesh does not fill its monitoring. */
const MAX_TENANTS = 200;
const OTHERS = "other";

/** Counts what runs used. */
export interface UsageMetrics {
  count(run: { tenant: string; agent: string; model: string }, usage: Usage): void;
}

export function usageMetrics(registry: Registry): UsageMetrics {
  const registers = [registry];
  const tokens = new Counter({
    name: "agent_tokens_total",
    help: "Tokens that runs used, by tenant (the first 200 of them), agent, model, and direction: input or output.",
    labelNames: ["tenant", "agent", "model", "direction"],
    registers,
  });
  const cost = new Counter({
    name: "agent_cost_dollars_total",
    help: "US dollars that runs cost by RAGENTS_LLM_PRICES, by tenant (the first 200 of them), agent and model.",
    labelNames: ["tenant", "agent", "model"],
    registers,
  });
  const known = new Set<string>();
  return {
    count({ tenant: of, agent, model }, { inputTokens, outputTokens, costUsd = 0 }) {
      if (known.size < MAX_TENANTS) known.add(of);
      const run = { tenant: known.has(of) ? of : OTHERS, agent, model };
      tokens.inc({ ...run, direction: "input" }, inputTokens);
      tokens.inc({ ...run, direction: "output" }, outputTokens);
      cost.inc(run, costUsd);
    },
  };
}
