import { Code } from "@connectrpc/connect";
import { hasCode } from "../errors.js";
import type { Answerer } from "./answerer.js";
import type { LanguageModel } from "./language-model.js";
import { tap } from "./tap.js";

/** A model that others stand in for when it cannot be reached: in their order, as long as nothing of a reply was shown. */
export function withStandIns(model: LanguageModel, standIns: readonly LanguageModel[]): LanguageModel {
  return standIns.length === 0 ? model : { name: model.name, stream: (request) => inTurn([model, ...standIns], (one) => one.stream(request)) };
}

/** The same for whole answerers, so that the built-in one can stand in for a model. */
export function answererWithStandIns(answerer: Answerer, standIns: readonly Answerer[]): Answerer {
  return standIns.length === 0
    ? answerer
    : { model: answerer.model, answer: (request) => inTurn([answerer, ...standIns], (one) => one.answer(request)) };
}

async function* inTurn<One, Piece, Whole>(
  all: readonly One[],
  start: (one: One) => AsyncGenerator<Piece, Whole>,
): AsyncGenerator<Piece, Whole> {
  for (const [i, one] of all.entries()) {
    let shown = false;
    try {
      return yield* tap(start(one), () => (shown = true));
    } catch (error) {
      if (shown || i === all.length - 1 || !hasCode(error, Code.Unavailable)) throw error;
    }
  }
  throw new Error("there is no model to ask");
}
