import { randomUUID } from "node:crypto";
import type { Clock } from "../../../runtime/clock.js";
import { checkVectors, type Embedder } from "../../../runtime/embedding/embedder.js";
import type { Embedders } from "../embedders.js";
import { embeddingModelFails, reembeddingRunning, sameEmbeddingModel, unknownEmbeddingModel } from "../errors.js";
import { IDEMPOTENCY_MS } from "../ingestion/start-job.js";
import type { CollectionRecord, JobRecord, JobStore } from "../store/store.js";

/** Between a job's row and its place in the queue lies nothing but one more call to the store. */
const STAGING_LEASE_MS = 30_000;

export interface StartReembeddingDependencies {
  readonly store: JobStore;
  readonly clock: Clock;
  readonly embedders: Embedders;
  /** Called when the job waits for a worker. */
  readonly onQueued: () => void;
}

export interface ReembeddingRequest {
  readonly collection: CollectionRecord;
  readonly embeddingModel: string;
  /** Empty for none. */
  readonly idempotencyKey: string;
}

/**
 * Makes a job that gives a collection another model. Throws INVALID_ARGUMENT for a model that is unknown or the collection's own,
 * FAILED_PRECONDITION when it does not work or the collection has such a job already.
 */
export async function startReembedding(
  { store, clock, embedders, onQueued }: StartReembeddingDependencies,
  { collection, embeddingModel: targetModel, idempotencyKey }: ReembeddingRequest,
  signal: AbortSignal,
): Promise<JobRecord> {
  const now = clock.now();
  const reuseAfter = new Date(now - IDEMPOTENCY_MS);
  const earlier = idempotencyKey === "" ? undefined : await store.findJob(collection.uid, idempotencyKey, reuseAfter);
  if (earlier !== undefined) return earlier;
  const embedder = embedders.get(targetModel);
  if (embedder === undefined) throw unknownEmbeddingModel(targetModel, [...embedders.keys()], "embedding_model");
  if (collection.settings.embeddingModel === targetModel) throw sameEmbeddingModel(collection.id, targetModel);
  await tryOut(embedder, signal);
  const id = randomUUID();
  const isFirst = await store.createJob({ id, collection, metadata: {}, readers: [], targetModel }, new Date(now), new Date(now + STAGING_LEASE_MS));
  if (!isFirst) throw reembeddingRunning(collection.id);
  try {
    const job = await store.queueJob(id, idempotencyKey, reuseAfter);
    onQueued();
    return job;
  } catch (error) {
    await store.abandonJob(id);
    throw error;
  }
}

/** A model that is away, or of another dimension than configured, is told at once and not by a job that fails. */
async function tryOut(embedder: Embedder, signal: AbortSignal): Promise<void> {
  try {
    checkVectors(embedder, 1, await embedder.embed(["Does the model answer?"], signal));
  } catch (error) {
    signal.throwIfAborted();
    throw embeddingModelFails(embedder.model, error);
  }
}
