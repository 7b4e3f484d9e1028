import type { JsonObject } from "@bufbuild/protobuf";
import type { AgentDeps } from "../agents/agent-kind.js";
import type { RunSettings } from "../settings.js";
import { DEFAULT_SETTINGS } from "../settings.js";
import type { Node } from "../state.js";
import { inTurns } from "./in-turns.js";
import { retrieve } from "./retrieve.js";

/** Part of the tokens that a directive must save to be searched alone. */
const WORTH_ALONE = 0.2;

/** Searches what the directive says; with the question itself too where that saves little. */
export function followDirectiveNode({ rag }: Pick<AgentDeps, "rag">): Node {
  return async ({ question, queries: rewritten = [], analysis, settings }, { signal }) => {
    if (analysis === null) throw new Error("there is no directive to follow");
    const { directive, tokenReduction } = analysis;
    const own: RunSettings = {
      ...settings,
      // What the request says goes before what was found in its words.
      mode: settings.mode === DEFAULT_SETTINGS.mode ? directive.mode : settings.mode,
      filters: joined(settings.filters, directive.filters),
    };
    const queries = tokenReduction > WORTH_ALONE ? [directive.queryText] : [directive.queryText, question];
    const found = await Promise.all([...new Set([...queries, ...rewritten.slice(1)])].map((query) => retrieve(rag, query, own, signal)));
    return { passages: inTurns(found).slice(0, settings.topK) };
  };
}

function joined(given: JsonObject | null, found: JsonObject): JsonObject | null {
  if (Object.keys(found).length === 0) return given;
  return given === null ? found : { $and: [given, found] };
}
