import { loadStaticEmbedder } from "../../../runtime/embedding/static-embedder.js";
import type { Viewer } from "../../../runtime/identity/viewer.js";
import type { IndexStore, StoredChunk } from "../store/store.js";
import { autocut } from "./autocut.js";
import { choose } from "./choose.js";
import { headingsOf } from "./headings.js";
import { neighbourIds, withNeighbours } from "./neighbours.js";
import type { Ranking } from "./ranking.js";
import { rerankerNamed, type Rerankers } from "./rerankers.js";

export interface ArrangerDependencies {
  readonly store: Pick<IndexStore, "readChunks">;
  readonly rerankers: Rerankers;
  /** Told of each reranking that failed; the search's own order is returned. */
  readonly onRerankFailed: (reranker: string, error: unknown) => void;
}

/** A candidate with what speaks for it. */
export interface Ranked extends StoredChunk {
  readonly score: number;
  /** What the reranker gave it; undefined when none did. */
  readonly rerankScore?: number;
}

/** Whose candidates, and for what question. */
export interface Request {
  /** The collection's uid. */
  readonly collection: number;
  readonly viewer: Viewer;
  readonly query: string;
  readonly k: number;
  readonly ranking: Ranking;
}

/** Makes the list that is returned of the candidates that were found. */
export class Arranger {
  readonly #deps: ArrangerDependencies;

  constructor(deps: ArrangerDependencies) {
    this.#deps = deps;
  }

  /** Throws INVALID_ARGUMENT UNKNOWN_RERANKER when there is no such reranker. */
  check({ rerank }: Ranking): void {
    if (rerank !== undefined) rerankerNamed(this.#deps.rerankers, rerank);
  }

  /** The best k of the candidates, and the reranker that ordered them. `found` has the best first. */
  async arrange<T extends Ranked>(found: readonly T[], request: Request, signal?: AbortSignal): Promise<{ chunks: T[]; reranker: string | undefined }> {
    const { k, ranking } = request;
    const { ranked, reranker } = await this.#rerank(found, request, signal);
    const mmr = ranking.mmrLambda === undefined ? undefined : { lambda: ranking.mmrLambda, vectors: await vectorsOf(ranked) };
    const chosen = choose(ranked, { k, maxPerDocument: ranking.maxPerDocument, neighbours: ranking.neighbours, mmr });
    const kept = ranking.autocut ? autocut(chosen) : chosen;
    return { chunks: await this.#expand(kept, request), reranker };
  }

  async #rerank<T extends Ranked>(found: readonly T[], { query, ranking: { rerank } }: Request, signal: AbortSignal | undefined) {
    if (rerank === undefined || found.length === 0) return { ranked: found, reranker: undefined };
    const passages = found.map((chunk) => ({ text: chunk.text, headings: headingsOf(chunk), score: chunk.score }));
    try {
      const scores = await rerankerNamed(this.#deps.rerankers, rerank).rerank(query, passages, signal);
      const ranked = found.map((chunk, i) => ({ ...chunk, score: scores[i]!, rerankScore: scores[i]! })).sort((a, b) => b.score - a.score);
      return { ranked, reranker: rerank };
    } catch (error) {
      signal?.throwIfAborted();
      // An answer in a lesser order is worth more than none.
      this.#deps.onRerankFailed(rerank, error);
      return { ranked: found, reranker: undefined };
    }
  }

  async #expand<T extends Ranked>(chunks: readonly T[], { collection, viewer, ranking: { neighbours } }: Request): Promise<T[]> {
    if (neighbours === 0 || chunks.length === 0) return [...chunks];
    const ids = new Set(chunks.flatMap((chunk) => neighbourIds(chunk, neighbours)));
    const read = new Map((await this.#deps.store.readChunks(collection, viewer, [...ids])).map((chunk) => [chunk.id, chunk]));
    return chunks.map((chunk) => withNeighbours(chunk, read, neighbours));
  }
}

/** What passages are about, by the built-in embedder whatever the collection's: it reads thousands a second. */
async function vectorsOf(chunks: readonly StoredChunk[]): Promise<Float32Array[]> {
  const embedder = await loadStaticEmbedder();
  return chunks.map(({ text }) => embedder.embedText(text));
}
