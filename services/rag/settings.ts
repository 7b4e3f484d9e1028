import type { CollectionSettings } from "./store/store.js";

/** Exists for every tenant from the start. */
export const DEFAULT_COLLECTION = "default";

/** 250 tokens are what all-MiniLM-L6-v2 reads of a text, and about 1,000 characters of English. */
const DEFAULT_CHUNK_SIZE = { characters: 1_000, tokens: 250 } as const;

/** Settings with what the caller left out filled in: neighbouring chunks share a fifth of their size. */
export function withDefaults(given: Partial<CollectionSettings>): CollectionSettings {
  const chunkUnit = given.chunkUnit ?? "characters";
  const chunkSize = given.chunkSize ?? DEFAULT_CHUNK_SIZE[chunkUnit];
  return {
    chunkUnit,
    chunkSize,
    chunkOverlap: given.chunkOverlap ?? Math.floor(chunkSize / 5),
    embeddingModel: given.embeddingModel ?? "static-256",
    language: given.language ?? "english",
  };
}

export const defaultSettings: CollectionSettings = withDefaults({});
