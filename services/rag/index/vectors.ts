import { quantize } from "../../../runtime/embedding/quantize.js";
import { type Allowed, predicateOf } from "./bm25.js";
import { type DotKernel, MAX_DIMENSION, ROW_ALIGNMENT, sharedKernel, SLAB_BYTES } from "./dot-kernel.js";
import { positionOf } from "./segment.js";
import type { Tombstones } from "./tombstones.js";
import { type Scored, TopK } from "./top-k.js";
import type { QuantizedVectors } from "./vector-format.js";

/** With fewer allowed chunks than this part of the rows, they are looked up one by one instead of scanning all. */
const SPARSE_PART = 1 / 16;

/** Vectors in the kernel's memory. To be released when they are no longer searched: the memory is not garbage-collected. */
export class LoadedVectors {
  readonly dimension: number;
  readonly chunkIds: Float64Array;
  readonly #scales: Float32Array;
  readonly #kernel: DotKernel;
  readonly #stride: number;
  readonly #rowsPerSlab: number;
  #slabs: number[] = [];
  #released = false;

  constructor({ dimension, chunkIds, scales, values }: QuantizedVectors, kernel: DotKernel = sharedKernel()) {
    if (dimension < 1 || dimension > MAX_DIMENSION) throw new RangeError(`Vectors of ${dimension} components cannot be searched.`);
    this.dimension = dimension;
    this.chunkIds = chunkIds;
    this.#scales = scales;
    this.#kernel = kernel;
    this.#stride = strideOf(dimension);
    this.#rowsPerSlab = Math.floor(SLAB_BYTES / this.#stride);
    try {
      for (let first = 0; first < chunkIds.length; first += this.#rowsPerSlab) this.#load(values, first);
    } catch (error) {
      this.release();
      throw error;
    }
  }

  #load(values: Int8Array, first: number): void {
    const slab = this.#kernel.allocate();
    this.#slabs.push(slab);
    const bytes = this.#kernel.bytes(slab).fill(0);
    const last = Math.min(first + this.#rowsPerSlab, this.chunkIds.length);
    for (let row = first; row < last; row++) {
      bytes.set(values.subarray(row * this.dimension, (row + 1) * this.dimension), (row - first) * this.#stride);
    }
  }

  /** Bytes of memory that the vectors take. */
  get byteLength(): number {
    return this.#slabs.length * SLAB_BYTES + 12 * this.chunkIds.length;
  }

  /** Gives the memory back; the vectors cannot be searched any more. */
  release(): void {
    for (const slab of this.#slabs) this.#kernel.release(slab);
    this.#slabs = [];
    this.#released = true;
  }

  /** Calls `visit` with every row's cosine, in order; rows of zero vectors are passed over. */
  scan(query: PreparedQuery, visit: (row: number, cosine: number) => void): void {
    this.#check();
    const count = this.chunkIds.length;
    const scales = this.#scales;
    this.#slabs.forEach((slab, i) => {
      const first = i * this.#rowsPerSlab;
      const rows = Math.min(this.#rowsPerSlab, count - first);
      const dots = this.#kernel.dots(slab, 0, rows, this.#stride, query.values);
      for (let row = 0; row < rows; row++) {
        const scale = scales[first + row]!;
        if (scale !== 0) visit(first + row, dots[row]! * scale * query.scale);
      }
    });
  }

  /** One row's cosine; 0 for a zero vector. */
  cosine(query: PreparedQuery, row: number): number {
    this.#check();
    const slab = this.#slabs[Math.floor(row / this.#rowsPerSlab)]!;
    const dot = this.#kernel.dots(slab, row % this.#rowsPerSlab, 1, this.#stride, query.values)[0]!;
    return dot * this.#scales[row]! * query.scale;
  }

  isZero(row: number): boolean {
    return this.#scales[row] === 0;
  }

  #check(): void {
    if (this.#released) throw new Error("These vectors were released; load them again.");
  }
}

/** A question's vector in int8, widened and filled up as the kernel reads it. */
export interface PreparedQuery {
  values: Int16Array;
  scale: number;
}

function strideOf(dimension: number): number {
  return Math.ceil(dimension / ROW_ALIGNMENT) * ROW_ALIGNMENT;
}

export interface VectorPart {
  vectors: LoadedVectors;
  /** Rows whose chunks are no longer there. */
  deleted?: Tombstones | undefined;
}

/**
 * Exact nearest neighbours over the live rows of any number of parts: every row is compared. The cosine is that of the int8
 * vectors, within about a hundredth of the float one.
 */
export class VectorIndex {
  readonly #parts: readonly VectorPart[];
  readonly #dimension: number | undefined;

  /** @throws RangeError when the parts differ in dimension. */
  constructor(parts: readonly VectorPart[]) {
    this.#parts = parts;
    this.#dimension = parts[0]?.vectors.dimension;
    const other = parts.find(({ vectors }) => vectors.dimension !== this.#dimension);
    if (other !== undefined) throw new RangeError(`Vectors of ${this.#dimension} and ${other.vectors.dimension} components in one index.`);
  }

  /**
   * The question's cosines, or undefined when its vector is zero or there is nothing to compare it with.
   * @throws RangeError when the vector does not have the index's dimension.
   */
  score(vector: Float32Array): VectorScores | undefined {
    if (this.#dimension === undefined) return undefined;
    if (vector.length !== this.#dimension) {
      throw new RangeError(`The question's vector has ${vector.length} components, the index ${this.#dimension}.`);
    }
    const { values, scale } = quantize(vector);
    if (scale === 0) return undefined;
    const widened = new Int16Array(strideOf(vector.length));
    widened.set(values);
    return new VectorScores(this.#parts, { values: widened, scale });
  }
}

/** What one question's vector scored. */
export class VectorScores {
  readonly #parts: readonly VectorPart[];
  readonly #query: PreparedQuery;

  constructor(parts: readonly VectorPart[], query: PreparedQuery) {
    this.#parts = parts;
    this.#query = query;
  }

  /** The k nearest chunks, the nearest first. */
  top(k: number, allowed?: Allowed): Scored[] {
    const best = new TopK(k);
    const isAllowed = allowed && predicateOf(allowed);
    for (const part of this.#parts) {
      const ids = part.vectors.chunkIds;
      if (allowed !== undefined && typeof allowed !== "function" && allowed.size < ids.length * SPARSE_PART) {
        this.#offerEach(best, part, allowed);
        continue;
      }
      const { deleted } = part;
      part.vectors.scan(this.#query, (row, cosine) => {
        if (cosine < best.threshold || deleted?.has(row) === true) return;
        if (isAllowed === undefined || isAllowed(ids[row]!)) best.offer(ids[row]!, cosine);
      });
    }
    return best.sorted();
  }

  #offerEach(best: TopK, { vectors, deleted }: VectorPart, allowed: ReadonlySet<number>): void {
    for (const chunkId of allowed) {
      const row = positionOf(vectors.chunkIds, chunkId);
      if (row >= 0 && deleted?.has(row) !== true && !vectors.isZero(row)) best.offer(chunkId, vectors.cosine(this.#query, row));
    }
  }

  /** A chunk's cosine; undefined when it has no vector or is not there. */
  of(chunkId: number): number | undefined {
    for (const { vectors, deleted } of this.#parts) {
      const row = positionOf(vectors.chunkIds, chunkId);
      if (row >= 0 && deleted?.has(row) !== true) return vectors.isZero(row) ? undefined : vectors.cosine(this.#query, row);
    }
    return undefined;
  }
}
