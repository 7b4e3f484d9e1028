import { fromJson } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { Hit } from "../../../gen/ragents/rag/v1/rag_pb.js";
import { RankingOptionsSchema } from "../../../gen/ragents/rag/v1/ranking_pb.js";
import type { RagService } from "../../../gen/ragents/rag/v1/rag_service_pb.js";
import type { Passage } from "../../../runtime/llm/answerer.js";
import type { AgentDeps } from "../agents/agent-kind.js";
import type { RunSettings } from "../settings.js";
import type { Node } from "../state.js";
import { inTurns } from "./in-turns.js";

/** Finds the passages that may answer the question, by all that its rewrite is searched by, in turns. */
export function retrieveNode({ rag }: Pick<AgentDeps, "rag">): Node {
  return async ({ question, queries = [], settings }, { signal }) => {
    const found = await Promise.all([...new Set([question, ...queries])].map((query) => retrieve(rag, query, settings, signal)));
    return { passages: inTurns(found).slice(0, settings.topK) };
  };
}

/** The passages for a query by a run's settings, best first. */
export async function retrieve(
  rag: Client<typeof RagService>,
  query: string,
  { collection, topK, mode, filters, ranking }: RunSettings,
  signal: AbortSignal | undefined,
): Promise<Passage[]> {
  const request = {
    collection,
    query,
    topK,
    mode,
    ...(filters !== null && { filters }),
    // A run that was begun before there were such options has none.
    ...(ranking != null && { ranking: fromJson(RankingOptionsSchema, ranking) }),
  };
  const response = await rag.retrieve(request, signal === undefined ? {} : { signal });
  return response.hits.map(toPassage);
}

function toPassage(hit: Hit): Passage {
  return {
    documentId: hit.documentId,
    chunkId: hit.chunkId,
    source: hit.source,
    headings: hit.title === "" || hit.headingPath[0] === hit.title ? hit.headingPath : [hit.title, ...hit.headingPath],
    start: hit.start,
    text: hit.text,
    ...(hit.page !== undefined && { page: hit.page }),
    score: hit.score,
  };
}
