import type { RankingOptions } from "../../../gen/ragents/rag/v1/ranking_pb.js";

/** What happens to candidates between the search and the passages that are returned; see RankingOptions of the API. */
export interface Ranking {
  /** The reranker's name; undefined for none. */
  readonly rerank: string | undefined;
  /** Candidates that are reranked and chosen from. */
  readonly candidates: number;
  /** 0 to 1; undefined for no choice by difference. */
  readonly mmrLambda: number | undefined;
  readonly autocut: boolean;
  /** Chunks on each side that come with a passage. */
  readonly neighbours: number;
  /** Undefined for no limit. */
  readonly maxPerDocument: number | undefined;
  readonly explain: boolean;
}

const DEFAULT_CANDIDATES = 50;

/** A request's options, defaults filled in. The schema has checked the limits. */
export function rankingOf(options: RankingOptions | undefined): Ranking {
  return {
    rerank: options === undefined || options.rerank === "" || options.rerank === "none" ? undefined : options.rerank,
    candidates: options?.candidates ?? DEFAULT_CANDIDATES,
    mmrLambda: options?.mmrLambda,
    autocut: options?.autocut ?? false,
    neighbours: options?.neighbours ?? 0,
    maxPerDocument: options === undefined || options.maxPerDocument === 0 ? undefined : options.maxPerDocument,
    explain: options?.explain ?? false,
  };
}

/** The search's own order. */
export const PLAIN_RANKING: Ranking = rankingOf(undefined);

/** Hits that the search has to give for the k best of this ranking. */
export function depthOf({ rerank, candidates, mmrLambda, maxPerDocument, neighbours }: Ranking, k: number): number {
  const chooses = rerank !== undefined || mmrLambda !== undefined || maxPerDocument !== undefined || neighbours > 0;
  return chooses ? Math.max(candidates, k) : k;
}
