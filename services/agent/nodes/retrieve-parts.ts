import type { Passage } from "../../../runtime/llm/answerer.js";
import type { AgentDeps } from "../agents/agent-kind.js";
import type { Node } from "../state.js";
import { retrieve } from "./retrieve.js";

/** Finds passages for the question and for each of its parts, and takes turns between them. */
export function retrievePartsNode({ rag }: Pick<AgentDeps, "rag">): Node {
  return async ({ question, parts, settings }, { signal }) => {
    const queries = [question, ...parts.filter((part) => part !== question)];
    const found = await Promise.all(queries.map((query) => retrieve(rag, query, settings, signal)));
    return { passages: inTurns(found) };
  };
}

/** The first of each list, then the second of each, without repetitions. */
export function inTurns(lists: readonly Passage[][]): Passage[] {
  const taken = new Map<string, Passage>();
  for (let rank = 0; lists.some((list) => rank < list.length); rank += 1) {
    for (const list of lists) {
      const passage = list[rank];
      const key = passage && `${passage.documentId}\n${passage.chunkId}`;
      if (passage !== undefined && key !== undefined && !taken.has(key)) taken.set(key, passage);
    }
  }
  return [...taken.values()];
}
