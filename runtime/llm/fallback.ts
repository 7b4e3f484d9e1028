import { Code } from "@connectrpc/connect";
import { hasCode } from "../errors.js";
import type { Answerer } from "./answerer.js";
import type { LanguageModel } from "./language-model.js";

/** A model that others stand in for when it cannot be reached: in their order, as long as nothing of a reply was shown. */
export function withStandIns(model: LanguageModel, standIns: readonly LanguageModel[]): LanguageModel {
  if (standIns.length === 0) return model;
  return { name: model.name, reply: (request, onText) => inTurn([model, ...standIns], onText, (one, show) => one.reply(request, show)) };
}

/** The same for whole answerers, so that the built-in one can stand in for a model. */
export function answererWithStandIns(answerer: Answerer, standIns: readonly Answerer[]): Answerer {
  if (standIns.length === 0) return answerer;
  return { model: answerer.model, answer: (request, onEvent) => inTurn([answerer, ...standIns], onEvent, (one, show) => one.answer(request, show)) };
}

async function inTurn<One, Piece, Whole>(
  all: readonly One[],
  onPiece: ((piece: Piece) => void) | undefined,
  ask: (one: One, show: (piece: Piece) => void) => Promise<Whole>,
): Promise<Whole> {
  for (const [i, one] of all.entries()) {
    let shown = false;
    try {
      return await ask(one, (piece) => {
        shown = true;
        onPiece?.(piece);
      });
    } catch (error) {
      if (shown || i === all.length - 1 || !hasCode(error, Code.Unavailable)) throw error;
    }
  }
  throw new Error("there is no model to ask");
}
