import type { Hit } from "../../../gen/ragents/rag/v1/rag_pb.js";
import type { Passage } from "../../../runtime/llm/answerer.js";
import type { AgentDeps } from "../agents/agent-kind.js";
import type { Node } from "../state.js";

/** Finds the passages that may answer the question. */
export function retrieveNode({ rag }: Pick<AgentDeps, "rag">): Node {
  return async ({ question, settings }, { signal }) => {
    const { collection, topK, mode, filters } = settings;
    const response = await rag.retrieve(
      { collection, query: question, topK, mode, ...(filters !== null && { filters }) },
      signal === undefined ? {} : { signal },
    );
    return { passages: response.hits.map(toPassage), epoch: String(response.epoch) };
  };
}

export function toPassage(hit: Hit): Passage {
  return {
    documentId: hit.documentId,
    chunkId: hit.chunkId,
    source: hit.source,
    headings: hit.title === "" || hit.headingPath[0] === hit.title ? hit.headingPath : [hit.title, ...hit.headingPath],
    start: hit.start,
    text: hit.text,
    score: hit.score,
  };
}
