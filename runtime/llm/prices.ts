import type { LanguageModel, Usage } from "./language-model.js";

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

/** What so many tokens cost, in US dollars. */
export function costOf({ inputTokens, outputTokens }: Usage, price: Price): number {
  return (inputTokens * price.input + outputTokens * price.output) / 1_000_000;
}

/** The model, with what each reply cost in its usage; as it is when it has no price. */
export function pricedModel(model: LanguageModel, prices: Prices): LanguageModel {
  const price = prices.get(model.name);
  if (price === undefined) return model;
  return {
    name: model.name,
    async reply(request, onText) {
      const reply = await model.reply(request, onText);
      return { ...reply, usage: { ...reply.usage, costUsd: costOf(reply.usage, price) } };
    },
  };
}
