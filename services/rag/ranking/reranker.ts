/** A passage as a reranker sees it. */
export interface RerankPassage {
  readonly text: string;
  /** The document's title and the headings above the passage, outermost first. */
  readonly headings: readonly string[];
  /** What the search gave it. */
  readonly score: number;
}

/** Puts passages that were found in a better order. */
export interface Reranker {
  /** The name that requests and configuration know it by. */
  readonly name: string;
  /** A score for each passage in their order, higher is better, comparable inside one call. Rejects when it cannot tell. */
  rerank(query: string, passages: readonly RerankPassage[], signal?: AbortSignal): Promise<readonly number[]>;
}
