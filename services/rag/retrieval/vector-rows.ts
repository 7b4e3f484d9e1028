import { positionOf } from "../index/segment.js";
import { decodeVectors, type QuantizedVectors } from "../index/vector-format.js";
import type { VectorRow } from "../store/store.js";

/** Rows of documents as one block in the order of the given chunks; a chunk without a vector has the zero vector. Other rows' chunks are passed over. */
export function alignVectors(chunkIds: Float64Array, dimension: number, rows: readonly VectorRow[]): QuantizedVectors {
  const scales = new Float32Array(chunkIds.length);
  const values = new Int8Array(chunkIds.length * dimension);
  for (const { bytes } of rows) {
    const row = decodeVectors(bytes);
    // A row's chunks follow each other, and mostly do so in the block too.
    let place = -1;
    row.chunkIds.forEach((chunkId, i) => {
      place = chunkIds[place + 1] === chunkId ? place + 1 : positionOf(chunkIds, chunkId);
      if (place < 0) return;
      scales[place] = row.scales[i]!;
      values.set(row.values.subarray(i * dimension, (i + 1) * dimension), place * dimension);
    });
  }
  return { dimension, chunkIds, scales, values };
}
