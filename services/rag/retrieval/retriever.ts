import { LRUCache } from "lru-cache";
import type { JsonObject } from "@bufbuild/protobuf";
import type { RankingOptions } from "../../../gen/ragents/rag/v1/ranking_pb.js";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import type { Embedder } from "../../../runtime/embedding/embedder.js";
import { invalidField } from "../../../runtime/errors.js";
import type { Viewer } from "../../../runtime/identity/viewer.js";
import { runBeyondCall } from "../../../runtime/call-context.js";
import { coalesce } from "../../../runtime/coalesce.js";
import type { Analyzer } from "../../../runtime/terms/terms.js";
import { inSpan } from "../../../runtime/tracing/tracer.js";
import { FilterError, filterToSql, parseFilter } from "../filters.js";
import { type Hit, type Mode, modes } from "../index/fusion.js";
import type { Arranger } from "../ranking/arranger.js";
import { depthOf, PLAIN_RANKING, type Ranking, rankingOf } from "../ranking/ranking.js";
import { chunkIds } from "../store/chunk-runs.js";
import type { CollectionRecord, DocumentCondition, IndexStore, StoredChunk } from "../store/store.js";
import { FoundChunks } from "./found-chunks.js";
import type { SearchIndexes } from "./search-indexes.js";

export interface Question {
  readonly query: string;
  readonly topK: number;
  readonly mode: Mode;
  /** A metadata filter as filters.ts reads it. */
  readonly filters: JsonObject | undefined;
  /** The search's own order when absent. */
  readonly ranking?: Ranking;
}

/** A passage that answers a question. */
export interface RetrievedChunk extends StoredChunk {
  readonly score: number;
  /** What the search gave it, and its place there from 1. */
  readonly found: { readonly hit: Hit; readonly rank: number };
  /** What the reranker gave it; undefined when none did. */
  readonly rerankScore?: number;
}

export interface Retrieval {
  /** The best first. */
  readonly chunks: readonly RetrievedChunk[];
  /** The collection's epoch that answered. */
  readonly epoch: number;
  /** The reranker that put them in order; undefined when none did. */
  readonly reranker: string | undefined;
}

export interface RetrieverDependencies {
  readonly store: IndexStore;
  readonly arranger: Arranger;
  readonly indexes: SearchIndexes;
  readonly embedderFor: (model: string) => Embedder;
  readonly analyzerFor: (language: CollectionRecord["settings"]["language"]) => Analyzer;
}

const EVERYTHING: DocumentCondition = { text: "true", parameters: [] };
/** Chunk ids of remembered filters, all together. */
const MAX_REMEMBERED_IDS = 1_000_000;
/** A deletion between search and reading the texts costs one more search; more in a row are not waited for. */
const MAX_TRIES = 3;
const DEFAULT_TOP_K = 5;

/** Finds the passages of a collection that answer a question. */
export class Retriever {
  readonly #deps: RetrieverDependencies;
  readonly #chunks: FoundChunks;
  /** What a filter allowed a viewer at an epoch; the epoch is part of the key, so it is never out of date. */
  readonly #embeds = new Map<string, (query: string) => Promise<Float32Array>>();
  readonly #allowed = new LRUCache<string, ReadonlySet<number>>({
    maxSize: MAX_REMEMBERED_IDS,
    sizeCalculation: (ids) => ids.size + 1,
  });

  constructor(deps: RetrieverDependencies) {
    this.#deps = deps;
    this.#chunks = new FoundChunks(deps.store);
  }

  /**
   * Answers from all that was committed before the call and that the viewer may read. Throws INVALID_ARGUMENT for a filter that
   * cannot be understood or a reranker that there is not.
   */
  async retrieve(collection: CollectionRecord, viewer: Viewer, question: Question, signal?: AbortSignal): Promise<Retrieval> {
    const { ranking = PLAIN_RANKING } = question;
    this.#deps.arranger.check(ranking);
    const filter = conditionOf(question.filters);
    const depth = depthOf(ranking, question.topK);
    const terms = question.mode === "semantic" ? [] : this.#deps.analyzerFor(collection.settings.language).terms(question.query);
    const { embeddingModel } = collection.settings;
    const vector = question.mode === "keyword" ? undefined : await this.#embed(embeddingModel, question.query);
    for (let attempt = 1; ; attempt += 1) {
      // A document may have become restricted since the collection was read: readChunks withholds it, and the next try leaves it out.
      const mayHide = viewer !== undefined && (collection.restrictedCount > 0 || attempt > 1);
      const { hits, epoch } = await this.#deps.indexes.search(collection, {
        terms,
        // The collection may have been given another model since its row was read.
        vectorBy: async (model) => (vector === undefined || model === embeddingModel ? vector : this.#embed(model, question.query)),
        mode: question.mode,
        k: depth,
        allowAt: async (at) => (mayHide || filter ? this.#allowedTo(viewer, collection, filter ?? EVERYTHING, at) : undefined),
      });
      // How many documents are restricted is known of the row's epoch alone.
      const place = { collection: collection.uid, epoch, viewer, isOpen: collection.restrictedCount === 0 && epoch === collection.epoch };
      const byId = await this.#chunks.read(place, hits.map(({ chunkId }) => chunkId));
      if (byId.size < hits.length && attempt < MAX_TRIES) {
        await this.#deps.indexes.refresh(collection);
        continue;
      }
      const found = hits.flatMap((hit, i): RetrievedChunk[] => {
        const chunk = byId.get(hit.chunkId);
        return chunk === undefined ? [] : [{ ...chunk, score: hit.score, found: { hit, rank: i + 1 } }];
      });
      const request = { collection: collection.uid, viewer, query: question.query, k: question.topK, ranking };
      return { epoch, ...(await this.#deps.arranger.arrange(found, request, signal)) };
    }
  }

  async #embed(model: string, query: string): Promise<Float32Array> {
    return inSpan("embed", async (span) => {
      span?.set({ metadata: { model, texts: 1 } });
      return this.#embedTogether(model)(query);
    });
  }

  /** Queries that come in one turn of the event loop, as those of a batch do, are embedded in one call. */
  #embedTogether(model: string): (query: string) => Promise<Float32Array> {
    let embed = this.#embeds.get(model);
    if (embed === undefined) {
      embed = coalesce((queries: string[]) => runBeyondCall(() => this.#deps.embedderFor(model).embed(queries)), { maxBatch: 64 });
      this.#embeds.set(model, embed);
    }
    return embed;
  }

  async #allowedTo(viewer: Viewer, { uid }: CollectionRecord, condition: DocumentCondition, epoch: number): Promise<ReadonlySet<number>> {
    const key = JSON.stringify([uid, epoch, viewer, condition.text, condition.parameters]);
    const known = this.#allowed.get(key);
    if (known !== undefined) return known;
    const ids = new Set(chunkIds(await this.#deps.store.allowedChunks(uid, viewer, condition)));
    this.#allowed.set(key, ids);
    return ids;
  }
}

/** A filter as the store's condition; undefined for none. Throws INVALID_ARGUMENT for one that cannot be understood. */
export function conditionOf(filters: JsonObject | undefined): DocumentCondition | undefined {
  if (filters === undefined || Object.keys(filters).length === 0) return undefined;
  const parameters: unknown[] = [];
  try {
    return { text: filterToSql(parseFilter(filters), "metadata", parameters), parameters };
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    throw invalidField(error.path, error.message.slice(error.path.length + 1), ErrorReason.INVALID_FILTER);
  }
}

/** A request's question, defaults filled in. */
export function questionOf(request: {
  query: string;
  topK?: number | undefined;
  mode: string;
  filters?: JsonObject | undefined;
  ranking?: RankingOptions | undefined;
}): Question & { ranking: Ranking } {
  const mode = modes.find((known) => known === request.mode) ?? "hybrid";
  return { query: request.query, topK: request.topK ?? DEFAULT_TOP_K, mode, filters: request.filters, ranking: rankingOf(request.ranking) };
}
