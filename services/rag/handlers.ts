import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { RagService, RetrieveOutcomeSchema, RetrieveRequest, RetrieveResponseSchema } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { currentCall, currentTenant } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { invalidField, toMeshError } from "../../runtime/errors.js";
import { toStatus } from "../../runtime/grpc-status.js";
import { currentViewer } from "../../runtime/identity/viewer.js";
import { inSpan } from "../../runtime/tracing/tracer.js";
import type { Answers } from "./answers.js";
import type { Embedders } from "./embedders.js";
import {
  collectionExists,
  collectionNotFound,
  collectionProtected,
  documentNotFound,
  jobEnded,
  jobNotFound,
  unknownEmbeddingModel,
} from "./errors.js";
import type { JobStarter } from "./ingestion/start-job.js";
import { watchJob, type WatchDependencies } from "./ingestion/watch-job.js";
import type { IngestionWorker } from "./ingestion/worker.js";
import type { Merger } from "./merging/merger.js";
import { fromSettingsMessage, toCollectionMessage, toDocumentMessage, toHitMessage, toJobMessage } from "./messages.js";
import { isId, isTimeAndId, pageOf, takePage } from "./paging.js";
import { startReembedding } from "./reembedding/start-reembedding.js";
import type { SearchIndexes } from "./retrieval/search-indexes.js";
import { conditionOf, questionOf, type Retriever } from "./retrieval/retriever.js";
import { DEFAULT_COLLECTION, defaultSettings, withDefaults } from "./settings.js";
import type { CollectionRecord, RagStore } from "./store/store.js";

export interface RagHandlerDependencies {
  readonly store: RagStore;
  readonly clock: Clock;
  readonly embedders: Embedders;
  readonly starter: JobStarter;
  readonly worker: Pick<IngestionWorker, "abandon" | "wake">;
  readonly merger: Pick<Merger, "consider">;
  readonly watching: WatchDependencies;
  readonly indexes: SearchIndexes;
  readonly retriever: Retriever;
  readonly answers: Answers;
}

export function ragHandlers(deps: RagHandlerDependencies): ServiceImpl<typeof RagService> {
  const { store, clock, embedders, starter, worker, merger, watching, indexes, retriever, answers } = deps;
  const now = () => new Date(clock.now());

  async function collectionOf(id: string): Promise<CollectionRecord> {
    const collection = await store.getCollection({ tenant: currentTenant(), id });
    if (collection === undefined) throw collectionNotFound(id);
    return collection;
  }

  async function retrieveFrom(collection: CollectionRecord, request: RetrieveRequest, signal: AbortSignal) {
    const question = questionOf(request);
    const { chunks, epoch, reranker = "" } = await retriever.retrieve(collection, currentViewer(), question, signal);
    currentCall()?.span?.set({
      input: () => ({ query: question.query }),
      output: () => ({ passages: chunks.map(({ text, score }) => ({ text, score })) }),
      metadata: { collection: collection.id, mode: question.mode, top_k: question.topK, reranker, hits: chunks.length, epoch },
    });
    return { hits: chunks.map((chunk) => toHitMessage(chunk, question.ranking.explain)), epoch: BigInt(epoch), reranker };
  }

  return {
    async createCollection({ id, settings: given }) {
      const settings = withDefaults(fromSettingsMessage(given));
      if (!embedders.has(settings.embeddingModel)) throw unknownEmbeddingModel(settings.embeddingModel, [...embedders.keys()]);
      const collection = await store.createCollection({ tenant: currentTenant(), id }, settings, now());
      if (collection === undefined) throw collectionExists(id);
      return { collection: toCollectionMessage(collection) };
    },
    async getCollection({ collection }) {
      return { collection: toCollectionMessage(await collectionOf(collection)) };
    },
    async listCollections(request) {
      const page = pageOf(request, isId);
      const found = await store.listCollections(currentTenant(), page);
      const { items, nextPageToken } = takePage(found, page.limit, ({ id }) => id);
      return { collections: items.map(toCollectionMessage), nextPageToken };
    },
    async deleteCollection({ collection: id }) {
      if (id === DEFAULT_COLLECTION) throw collectionProtected(id);
      const collection = await collectionOf(id);
      if (!(await store.deleteCollection(collection))) throw collectionNotFound(id);
      indexes.drop(collection.uid);
      return {};
    },

    async reembedCollection({ collection: id, embeddingModel, idempotencyKey }, { signal }) {
      const request = { collection: await collectionOf(id), embeddingModel, idempotencyKey };
      return { job: toJobMessage(await startReembedding({ store, clock, embedders, onQueued: () => worker.wake() }, request, signal)) };
    },

    async ingestDocuments({ collection: id, path, documents, urls, metadata = {}, readers, idempotencyKey, sync }) {
      const request = { collection: await collectionOf(id), metadata, readers, idempotencyKey };
      // The schema lets exactly one of them through.
      const job =
        path !== "" ? await starter.ingestPath(request, path, sync)
        : urls.length > 0 ? await starter.ingestUrls(request, urls)
        : await starter.ingestInline(request, documents);
      return { job: toJobMessage(job) };
    },
    async uploadDocuments(requests, { signal }) {
      const messages = requests[Symbol.asyncIterator]();
      const first = await messages.next();
      if (first.done === true || first.value.part.case !== "header") throw invalidField("header", "must be the first message");
      const header = first.value.part.value;
      const { metadata = {}, readers, idempotencyKey, syncPrefix } = header;
      const request = { collection: await collectionOf(header.collection), metadata, readers, idempotencyKey };
      const job = await starter.ingestUpload(request, syncPrefix, { [Symbol.asyncIterator]: () => messages }, signal);
      return { job: toJobMessage(job) };
    },
    async getJob({ job: id }) {
      const job = await store.getJob(currentTenant(), id);
      if (job === undefined) throw jobNotFound(id);
      return { job: toJobMessage(job, watching.phaseOf(id)) };
    },
    async listJobs(request) {
      const { after, limit } = pageOf(request, isTimeAndId);
      const position = after && { createTime: new Date(after[0]), id: after[1] };
      const jobs = await store.listJobs(currentTenant(), request.collection || undefined, { limit, ...(position && { after: position }) });
      const { items, nextPageToken } = takePage(jobs, limit, ({ createTime, id }) => [createTime.getTime(), id]);
      return { jobs: items.map((job) => toJobMessage(job)), nextPageToken };
    },
    async *watchJob({ job: id }, { signal }) {
      let found = false;
      for await (const job of watchJob(watching, currentTenant(), id, signal)) {
        found = true;
        yield { job: toJobMessage(job) };
      }
      if (!found && !signal.aborted) throw jobNotFound(id);
    },
    async cancelJob({ job: id }) {
      const outcome = await store.cancelJob(currentTenant(), id, now());
      if (outcome === undefined) throw jobNotFound(id);
      if (!outcome.cancelled) throw jobEnded(id, outcome.job.state);
      worker.abandon(id);
      watching.changes.announce(id);
      return { job: toJobMessage(outcome.job) };
    },

    async listDocuments(request) {
      const { uid, id } = await collectionOf(request.collection);
      const page = pageOf(request, isId);
      const { items, nextPageToken } = takePage(await store.listDocuments(uid, currentViewer(), page), page.limit, (document) => document.id);
      return { documents: items.map((document) => toDocumentMessage(document, id)), nextPageToken };
    },
    async getDocument({ collection: collectionId, document: id }) {
      const collection = await collectionOf(collectionId);
      const document = await store.getDocument(collection.uid, currentViewer(), id);
      if (document === undefined) throw documentNotFound(id);
      return { document: toDocumentMessage(document, collection.id) };
    },
    async deleteDocument({ collection: collectionId, document: id }) {
      const { uid } = await collectionOf(collectionId);
      if (!(await store.deleteDocument(uid, currentViewer(), id, now()))) throw documentNotFound(id);
      merger.consider(uid);
      return {};
    },

    async deleteDocuments({ collection: collectionId, filters }) {
      const { uid } = await collectionOf(collectionId);
      const condition = conditionOf(filters);
      // The schema lets no empty filter through: it would select everything.
      if (condition === undefined) throw invalidField("filters", "must have at least one condition");
      const deleted = await store.deleteDocuments(uid, currentViewer(), condition, now());
      if (deleted > 0) merger.consider(uid);
      return { deletedDocuments: BigInt(deleted) };
    },

    async retrieve(request, { signal }) {
      return retrieveFrom(await collectionOf(request.collection), request, signal);
    },
    async batchRetrieve({ requests }, { signal }) {
      const names = [...new Set(requests.map(({ collection }) => collection))];
      const found = await Promise.allSettled(names.map(collectionOf));
      const outcomes = await Promise.allSettled(
        requests.map(async (request) => {
          const collection = found[names.indexOf(request.collection)];
          if (collection?.status !== "fulfilled") throw collection?.reason;
          return inSpan("Retrieve", () => retrieveFrom(collection.value, request, signal));
        }),
      );
      return { outcomes: outcomes.map(toOutcome) };
    },
    async answer(request, { signal }) {
      const collection = await collectionOf(request.collection);
      return answers.answer(collection, currentViewer(), questionOf(request), signal);
    },

    async embedTexts({ model, texts }, { signal }) {
      const name = model === "" ? defaultSettings.embeddingModel : model;
      const embedder = embedders.get(name);
      if (embedder === undefined) throw unknownEmbeddingModel(name, [...embedders.keys()], "model");
      const vectors = await embedder.embed(texts, signal);
      const tokens = texts.reduce((sum, text) => sum + (embedder.countTokens?.(text) ?? 0), 0);
      return { embeddings: vectors.map((vector) => ({ values: [...vector] })), model: name, inputTokens: BigInt(tokens) };
    },
    listEmbeddingModels() {
      const first = defaultSettings.embeddingModel;
      const models = [...embedders.values()].map(({ model, dimension }) => ({ name: model, dimension }));
      return { models: models.sort((a, b) => Number(b.name === first) - Number(a.name === first)) };
    },
  };
}

function toOutcome(outcome: PromiseSettledResult<MessageInitShape<typeof RetrieveResponseSchema>>): MessageInitShape<typeof RetrieveOutcomeSchema> {
  return outcome.status === "fulfilled"
    ? { outcome: { case: "response", value: outcome.value } }
    : { outcome: { case: "error", value: toStatus(toMeshError(outcome.reason)) } };
}
