import type { Passage } from "../../../runtime/llm/answerer.js";

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
