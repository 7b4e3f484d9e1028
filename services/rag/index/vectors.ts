import { type Allowed, predicateOf } from "./bm25.js";
import { type DotKernel, MAX_DIMENSION, ROW_ALIGNMENT, sharedKernel, SLAB_BYTES } from "./dot-kernel.js";
import { positionOf } from "./segment.js";
import type { Tombstones } from "./tombstones.js";
import { type Scored, TopK } from "./top-k.js";
import type { QuantizedVectors } from "./vector-format.js";

/** With fewer allowed chunks than this part of the rows, they are looked up one by one instead of scanning all. */
const SPARSE_PART = 1 / 16;
const MAX_DOT = 2 ** 31 - 1;

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

  /** Offers every row's cosine, but for those of zero vectors, deleted and not allowed ones. */
  offerAll(best: TopK, query: PreparedQuery, deleted?: Tombstones, isAllowed?: (chunkId: number) => boolean): void {
    this.#check();
    const ids = this.chunkIds;
    const scales = this.#scales;
    const queryScale = query.scale;
    let threshold = best.threshold;
    this.#slabs.forEach((slab, i) => {
      const first = i * this.#rowsPerSlab;
      const rows = Math.min(this.#rowsPerSlab, ids.length - first);
      const dots = this.#kernel.dots(slab, 0, rows, this.#stride, query.values);
      for (let row = 0; row < rows; row++) {
        const scale = scales[first + row]!;
        const cosine = dots[row]! * scale * queryScale;
        if (cosine < threshold || scale === 0 || deleted?.has(first + row) === true) continue;
        const chunkId = ids[first + row]!;
        if (isAllowed !== undefined && !isAllowed(chunkId)) continue;
        best.offer(chunkId, cosine);
        threshold = best.threshold;
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

/** A question's vector as the kernel reads it: component i is about values[i] * scale; filled up with zeros. */
export interface PreparedQuery {
  values: Int16Array;
  scale: number;
}

/**
 * Rounds a question's vector to as many of 16 bits as keep its product with any int8 row inside 32: the kernel multiplies 16 bits
 * anyway, so that only the rows' rounding is lost. Undefined for the zero vector.
 */
export function prepareQuery(vector: Float32Array): PreparedQuery | undefined {
  let largest = 0;
  let sum = 0;
  for (const component of vector) {
    largest = Math.max(largest, Math.abs(component));
    sum += Math.abs(component);
  }
  // Rounding may add half a step to every component.
  const most = Math.min(32_767, Math.floor((MAX_DOT / 127 - vector.length / 2) / (sum / largest)));
  const scale = largest / most;
  if (!(scale > 0)) return undefined;
  const values = new Int16Array(strideOf(vector.length));
  vector.forEach((component, i) => (values[i] = Math.round(component / scale)));
  return { values, scale };
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
 * rows, within about a hundredth of the float one.
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
    const query = prepareQuery(vector);
    return query && new VectorScores(this.#parts, query);
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
      part.vectors.offerAll(best, this.#query, part.deleted, isAllowed);
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
