import type { Usage } from "./language-model.js";

/** What a million tokens cost, in US dollars. */
export interface Price {
  readonly input: number;
  readonly output: number;
}

/** Prices by the models' names. */
export type Prices = ReadonlyMap<string, Price>;

/** List prices of the default models. */
export const DEFAULT_PRICES = "gpt-4.1-mini=0.40/1.60,claude-sonnet-4-5=3/15";

const FORM = /^([^=]{1,128})=(\d+(?:\.\d+)?)\/(\d+(?:\.\d+)?)$/;

/** Reads "MODEL=INPUT/OUTPUT,...", in US dollars a million tokens; undefined when it is something else. */
export function parsePrices(text: string): Prices | undefined {
  const prices = new Map<string, Price>();
  for (const part of text.split(",").map((one) => one.trim()).filter((one) => one !== "")) {
    const match = FORM.exec(part);
    if (match === null) return undefined;
    prices.set(match[1]!, { input: Number(match[2]), output: Number(match[3]) });
  }
  return prices;
}

/** What a reply cost, in US dollars; 0 for a model without a price. */
export function costOf(prices: Prices, model: string, usage: Usage): number {
  const price = prices.get(model);
  return price === undefined ? 0 : (usage.inputTokens * price.input + usage.outputTokens * price.output) / 1_000_000;
}
