import type { AgentDeps } from "../agents/agent-kind.js";
import type { Node } from "../state.js";
import { inTurns } from "./in-turns.js";
import { retrieve } from "./retrieve.js";

/** Finds passages for the question, each of its parts and what its rewrite is searched by, and takes turns between them. */
export function retrievePartsNode({ rag }: Pick<AgentDeps, "rag">): Node {
  return async ({ question, queries = [], parts, settings }, { signal }) => {
    const wanted = [...new Set([question, ...parts, ...queries])];
    const found = await Promise.all(wanted.map((query) => retrieve(rag, query, settings, signal)));
    return { passages: inTurns(found) };
  };
}
