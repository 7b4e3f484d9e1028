export { type CacheClient, type CacheClientOptions, createCacheClient, type Filled, type PutOptions } from "./cache-client.js";
export type { CacheKind, CacheScope } from "./cache-key.js";
export { packEmbedding, unpackEmbedding } from "./embedding-codec.js";
