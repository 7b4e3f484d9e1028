import { estimatedPromptTokens, estimatedTokens } from "./estimated-tokens.js";
import { type LanguageModel, NO_USAGE, type Usage } from "./language-model.js";
import { costOf, type Price } from "./prices.js";

/** The key under which a tenant's budgets of language models are held. */
const BUDGET_KEY = "llm";

/** Holds whole amounts of a tenant's budgets, all or none, until they are settled; the rate limit service's client is one. */
export interface Budgets {
  reserveBudget(key: string, amounts: Readonly<Record<string, number>>): Promise<{ settle(used: Readonly<Record<string, number>>): Promise<void> }>;
}

/**
 * The model within the tenant's budgets `llm_tokens` and `cost_microusd`: the most that a request can use is held before it
 * and settled with what it did use after it. Rejects with RESOURCE_EXHAUSTED and the wait when a budget has less.
 */
export function budgetedModel(model: LanguageModel, budgets: Budgets, price: Price | undefined): LanguageModel {
  const amountsOf = (usage: Usage) => ({
    llm_tokens: usage.inputTokens + usage.outputTokens,
    ...(price !== undefined && { cost_microusd: Math.ceil(costOf(usage, price) * 1_000_000) }),
  });
  return {
    name: model.name,
    async reply(request, onText) {
      const inputTokens = estimatedPromptTokens(request);
      const reservation = await budgets.reserveBudget(BUDGET_KEY, amountsOf({ inputTokens, outputTokens: request.maxTokens }));
      let used = NO_USAGE;
      let written = 0;
      try {
        const reply = await model.reply(request, (piece) => {
          written += piece.length;
          // Nobody counts a reply that breaks off or is given up: what was read of it is what was paid for.
          used = { inputTokens, outputTokens: estimatedTokens(written) };
          onText?.(piece);
        });
        used = reply.usage;
        return reply;
      } finally {
        // What cannot be settled comes back by itself: the answer does not wait for it, nor fail by it.
        void reservation.settle(amountsOf(used)).catch(() => {});
      }
    },
  };
}
