import type { CollectionSettings } from "./store/store.js";

/** Exists for every tenant from the start. */
export const DEFAULT_COLLECTION = "default";

const DEFAULT_CHUNK_SIZE = 1_000;

/** Settings with what the caller left out filled in: neighbouring chunks share a fifth of their size. */
export function withDefaults(given: Partial<CollectionSettings>): CollectionSettings {
  const chunkSize = given.chunkSize ?? DEFAULT_CHUNK_SIZE;
  return {
    chunkSize,
    chunkOverlap: given.chunkOverlap ?? Math.floor(chunkSize / 5),
    embeddingModel: given.embeddingModel ?? "static-256",
    language: given.language ?? "english",
  };
}

export const defaultSettings: CollectionSettings = withDefaults({});
