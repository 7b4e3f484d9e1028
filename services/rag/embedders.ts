import { existsSync } from "node:fs";
import { z } from "zod";
import type { CacheClient } from "../../clients/cache/index.js";
import type { Clock } from "../../runtime/clock.js";
import { ConfigError, integer } from "../../runtime/config.js";
import type { Embedder } from "../../runtime/embedding/embedder.js";
import { MiniLmEmbedder } from "../../runtime/embedding/minilm-embedder.js";
import { MINILM_MODEL, miniLmFile, verifyMiniLm } from "../../runtime/embedding/minilm-model.js";
import { OpenAiEmbedder } from "../../runtime/embedding/openai-embedder.js";
import { loadStaticEmbedder, STATIC_MODEL } from "../../runtime/embedding/static-embedder.js";
import { cachedEmbedder } from "./cached-embedder.js";

/** Variables of the embedding model that a server runs. */
export const embedderConfigSchema = z.object({
  RAGENTS_EMBEDDING_URL: z.url({ protocol: /^https?$/, error: "give an http:// or https:// URL" }).optional(),
  RAGENTS_EMBEDDING_MODEL: z.string().min(1).max(128, "give at most 128 characters").optional(),
  RAGENTS_EMBEDDING_DIMENSION: integer({ default: 0, min: 0, max: 4_096, unit: "components" }),
  RAGENTS_EMBEDDING_API_KEY: z.string().optional(),
  RAGENTS_EMBEDDING_TIMEOUT_MS: integer({ default: 30_000, min: 100, max: 600_000, unit: "milliseconds" }),
});
export type EmbedderConfig = z.infer<typeof embedderConfigSchema>;

export interface EmbeddersOptions {
  /** The folder that `ragents models pull` fills. */
  readonly modelsFolder: string;
  readonly server: EmbedderConfig;
  readonly cache: CacheClient;
  readonly clock: Clock;
}

/** The embedding models that collections can be made with, by name. */
export type Embedders = ReadonlyMap<string, Embedder>;

/**
 * Opens every model that this installation has: the built-in one, all-MiniLM-L6-v2 where it was pulled, and the configured server's.
 * Rejects with ConfigError for a server that is described by halves, and with EmbeddingError for a file that is not the model.
 */
export async function openEmbedders({ modelsFolder, server, cache, clock }: EmbeddersOptions): Promise<Embedders> {
  const embedders = new Map<string, Embedder>([[STATIC_MODEL, await loadStaticEmbedder()]]);
  const add = (embedder: Embedder) => embedders.set(embedder.model, cachedEmbedder(embedder, cache, () => clock.monotonic()));
  const file = miniLmFile(modelsFolder);
  if (existsSync(file)) {
    await verifyMiniLm(file);
    add(new MiniLmEmbedder(file));
  }
  const { RAGENTS_EMBEDDING_URL: baseUrl, RAGENTS_EMBEDDING_MODEL: model, RAGENTS_EMBEDDING_DIMENSION: dimension } = server;
  if (baseUrl === undefined) return embedders;
  if (model === undefined) throw new ConfigError("RAGENTS_EMBEDDING_MODEL: name the model that the server at RAGENTS_EMBEDDING_URL runs");
  if (dimension === 0) throw new ConfigError(`RAGENTS_EMBEDDING_DIMENSION: say how many components the vectors of ${model} have`);
  if (model === STATIC_MODEL || model === MINILM_MODEL) throw new ConfigError(`RAGENTS_EMBEDDING_MODEL: ${model} is the name of another model`);
  add(new OpenAiEmbedder({ baseUrl, model, dimension, apiKey: server.RAGENTS_EMBEDDING_API_KEY, timeoutMs: server.RAGENTS_EMBEDDING_TIMEOUT_MS, clock }));
  return embedders;
}

/** The model that a collection was made with. Throws when this installation does not have it. */
export function embedderFor(embedders: Embedders, model: string): Embedder {
  const embedder = embedders.get(model);
  if (embedder === undefined) {
    throw new Error(`a collection uses the embedding model ${model}, which is not configured here; known: ${[...embedders.keys()].join(", ")}`);
  }
  return embedder;
}
