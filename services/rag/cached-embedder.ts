import type { CacheClient, CacheScope } from "../../clients/cache/index.js";
import { checkVectors, type Embedder } from "../../runtime/embedding/embedder.js";
import { quantize } from "../../runtime/embedding/quantize.js";

/** A text and its embedding belong to no collection: what one has embedded serves all of its tenant. */
const SCOPE = { collection: "embeddings", epoch: 0, parameters: "int8-1" };
/** What a batch grows and shrinks between, in texts. */
const SMALLEST_BATCH = 8;
const LARGEST_BATCH = 256;
/** A batch should take about this long: what is embedded is kept, and a cancelled job stops soon, in milliseconds. */
const AIMED_MS = 1_000;

/**
 * A costly embedder whose vectors are kept by the cache service. They are packed as the index holds them, one byte a component.
 * What is missing is embedded in batches that take about a second each, however fast the model is.
 */
export function cachedEmbedder(embedder: Embedder, cache: CacheClient, now: () => number): Embedder {
  const { model, dimension } = embedder;
  const scope: CacheScope = { ...SCOPE, model };
  let batchSize = SMALLEST_BATCH;

  async function embedMissing(texts: readonly string[], signal?: AbortSignal): Promise<Float32Array[]> {
    const vectors: Float32Array[] = [];
    while (vectors.length < texts.length) {
      const batch = texts.slice(vectors.length, vectors.length + batchSize);
      const start = now();
      const made = await embedder.embed(batch, signal);
      checkVectors(embedder, batch.length, made);
      if (batch.length === batchSize) batchSize = adapted(batchSize, now() - start);
      void Promise.all(made.map((vector, i) => cache.put("EMBEDDING", scope, batch[i]!, pack(vector))));
      vectors.push(...made);
    }
    return vectors;
  }

  return {
    model,
    dimension,
    isCostly: true,
    async embed(texts, signal) {
      const found = await Promise.all(texts.map((text) => cache.get("EMBEDDING", scope, text)));
      const vectors = found.map((value) => (value === undefined ? undefined : unpack(value, dimension)));
      const missing = vectors.flatMap((vector, i) => (vector === undefined ? [i] : []));
      const made = await embedMissing(missing.map((i) => texts[i]!), signal);
      missing.forEach((i, place) => (vectors[i] = made[place]!));
      return vectors as Float32Array[];
    },
    ...(embedder.countTokens && { countTokens: (text: string) => embedder.countTokens!(text) }),
    close: () => embedder.close?.() ?? Promise.resolve(),
  };
}

/** Twice the batch while it takes less than half of the time that it may, half of it when it takes longer than twice that. */
function adapted(size: number, tookMs: number): number {
  if (tookMs < AIMED_MS / 2) return Math.min(size * 2, LARGEST_BATCH);
  if (tookMs > AIMED_MS * 2) return Math.max(size / 2, SMALLEST_BATCH);
  return size;
}

/** The scale as a little-endian float, then a byte a component. */
export function pack(vector: Float32Array): Uint8Array {
  const { values, scale } = quantize(vector);
  const bytes = Buffer.alloc(4 + values.length);
  bytes.writeFloatLE(scale, 0);
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.length), 4);
  return bytes;
}

/** Undefined for bytes that are no vector of the dimension. */
export function unpack(bytes: Uint8Array, dimension: number): Float32Array | undefined {
  if (bytes.length !== 4 + dimension) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const scale = view.getFloat32(0, true);
  if (!Number.isFinite(scale)) return undefined;
  return Float32Array.from({ length: dimension }, (_, i) => view.getInt8(4 + i) * scale);
}
