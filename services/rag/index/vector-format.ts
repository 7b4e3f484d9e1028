/**
 * How vectors are stored: int8 with one scale a row, apart from the terms, by embedding model. Merging texts does not rewrite
 * them, and a second model's can be built beside the first's.
 *
 *   header   magic, version, dimension, row count, byte length of the ids, checksum of all else
 *   ids      chunk ids ascending, as differences
 *   scales   a float32 a row
 *   rows     int8, row-major, in the order of the ids
 */
import { crc32 } from "node:zlib";
import { quantize } from "../../../runtime/embedding/quantize.js";
import { ByteReader, ByteWriter, corrupt, IndexFormatError } from "./bytes.js";
import { MAX_DIMENSION } from "./dot-kernel.js";
import { decodeAscending, encodeAscending } from "./segment-format.js";
import type { Tombstones } from "./tombstones.js";

const MAGIC = 0x56_47_41_52; // "RAGV"
const VERSION = 1;
const HEADER_BYTES = 24;

/** Rows in the order of their chunk ids; row i is values[i * dimension ...] * scales[i]. */
export interface QuantizedVectors {
  dimension: number;
  /** Ascending. */
  chunkIds: Float64Array;
  /** 0 for a zero vector, which no search finds. */
  scales: Float32Array;
  values: Int8Array;
}

export interface ChunkVector {
  chunkId: number;
  /** L2-normalised, or zero for a text without anything to embed. */
  vector: Float32Array;
}

/**
 * The bytes of these vectors, in whatever order they come.
 * @throws RangeError when an id occurs twice, or a vector does not have the dimension.
 */
export function buildVectors(dimension: number, chunks: readonly ChunkVector[]): Uint8Array {
  if (!Number.isInteger(dimension) || dimension < 1 || dimension > MAX_DIMENSION) {
    throw new RangeError(`The dimension of vectors must be from 1 to ${MAX_DIMENSION}, not ${dimension}.`);
  }
  const sorted = chunks.toSorted((a, b) => a.chunkId - b.chunkId);
  const values = new Int8Array(sorted.length * dimension);
  const scales = new Float32Array(sorted.length);
  sorted.forEach(({ chunkId, vector }, row) => {
    if (vector.length !== dimension) throw new RangeError(`The vector of chunk ${chunkId} has ${vector.length} components, not ${dimension}.`);
    if (chunkId === sorted[row - 1]?.chunkId) throw new RangeError(`The chunk id ${chunkId} occurs twice.`);
    const quantized = quantize(vector);
    values.set(quantized.values, row * dimension);
    scales[row] = quantized.scale;
  });
  return encodeVectors({ dimension, chunkIds: Float64Array.from(sorted, ({ chunkId }) => chunkId), scales, values });
}

export function encodeVectors({ dimension, chunkIds, scales, values }: QuantizedVectors): Uint8Array {
  const ids = new ByteWriter();
  encodeAscending(ids, chunkIds);
  const body = Buffer.concat([ids.finish(), bytesOf(scales), bytesOf(values)]);
  const header = new ByteWriter();
  for (const field of [MAGIC, VERSION, dimension, chunkIds.length, ids.length]) header.u32(field);
  header.u32(crc32(body, crc32(header.finish())));
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  bytes.set(header.finish());
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

/** Shares no memory with the bytes. @throws IndexFormatError */
export function decodeVectors(bytes: Uint8Array): QuantizedVectors {
  if (bytes.length < HEADER_BYTES) corrupt("The bytes are no vectors");
  const header = new ByteReader(bytes, 0, HEADER_BYTES);
  if (header.u32() !== MAGIC) corrupt("The bytes are no vectors");
  const version = header.u32();
  if (version !== VERSION) {
    throw new IndexFormatError(
      "UNKNOWN_VERSION",
      `The vectors have version ${version}, this program reads ${VERSION}; use the program that wrote them, or build the index anew.`,
    );
  }
  const [dimension, count, idBytes, checksum] = [header.u32(), header.u32(), header.u32(), header.u32()];
  if (checksum !== crc32(bytes.subarray(HEADER_BYTES), crc32(bytes.subarray(0, HEADER_BYTES - 4)))) corrupt("The vectors' checksum is wrong");
  const scalesAt = HEADER_BYTES + idBytes;
  const valuesAt = scalesAt + 4 * count;
  if (valuesAt + count * dimension !== bytes.length) corrupt("The vectors are not as many as they should be");
  return {
    dimension,
    chunkIds: decodeAscending(new ByteReader(bytes, HEADER_BYTES, scalesAt), count),
    scales: new Float32Array(copy(bytes, scalesAt, valuesAt)),
    values: new Int8Array(copy(bytes, valuesAt, bytes.length)),
  };
}

/**
 * The bytes of the vectors of several blocks that are not deleted.
 * @throws RangeError when two blocks hold the same chunk, or differ in dimension.
 */
export function mergeVectors(inputs: readonly { vectors: QuantizedVectors; deleted?: Tombstones | undefined }[]): Uint8Array {
  const dimension = inputs[0]?.vectors.dimension ?? 1;
  const live: { chunkId: number; vectors: QuantizedVectors; row: number }[] = [];
  for (const { vectors, deleted } of inputs) {
    if (vectors.dimension !== dimension) throw new RangeError(`Vectors of ${vectors.dimension} and ${dimension} components do not merge.`);
    vectors.chunkIds.forEach((chunkId, row) => {
      if (deleted?.has(row) !== true) live.push({ chunkId, vectors, row });
    });
  }
  live.sort((a, b) => a.chunkId - b.chunkId);
  const values = new Int8Array(live.length * dimension);
  live.forEach(({ chunkId, vectors, row }, place) => {
    if (chunkId === live[place - 1]?.chunkId) throw new RangeError(`The chunk ${chunkId} is in two blocks of vectors.`);
    values.set(vectors.values.subarray(row * dimension, (row + 1) * dimension), place * dimension);
  });
  return encodeVectors({
    dimension,
    chunkIds: Float64Array.from(live, ({ chunkId }) => chunkId),
    scales: Float32Array.from(live, ({ vectors, row }) => vectors.scales[row]!),
    values,
  });
}

function bytesOf(array: Float32Array | Int8Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** A float array needs memory that begins at a multiple of four. */
function copy(bytes: Uint8Array, start: number, end: number): ArrayBuffer {
  const copied = new ArrayBuffer(end - start);
  new Uint8Array(copied).set(bytes.subarray(start, end));
  return copied;
}
