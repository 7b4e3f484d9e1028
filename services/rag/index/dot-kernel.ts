/**
 * Memory for int8 vectors and the loop that multiplies them with a question's: in WebAssembly with SIMD where the engine has
 * it (100,000 rows of 256 in 1.3 ms), else in plain JavaScript (20 times slower). Both give the same whole numbers.
 *
 * Rows stay inside the WebAssembly memory, in slabs of one size: a slab that is given back fits whatever comes next, so
 * the memory, which can only grow, grows to what was in use at once.
 */
import { dotKernelWasm } from "./dot-kernel-wasm.js";

export const SLAB_BYTES = 65_536;
/** Rows begin at multiples of this, filled up with zeros. */
export const ROW_ALIGNMENT = 16;
export const MAX_DIMENSION = 16_384;

/** More vectors than one memory can hold (4 GB). */
export class VectorMemoryError extends Error {
  readonly kind = "OUT_OF_MEMORY";

  constructor(options?: ErrorOptions) {
    super("The memory for vectors is full; lower the memory budget of the index or spread the collections over more replicas.", options);
    this.name = "VectorMemoryError";
  }
}

export interface DotKernel {
  readonly name: "wasm-simd" | "javascript";
  /** A slab of SLAB_BYTES, of whatever was in it last. @throws VectorMemoryError */
  allocate(): number;
  release(slab: number): void;
  /** The slab's bytes, valid until the next allocation. */
  bytes(slab: number): Int8Array;
  /**
   * The products of a query with `count` rows of a slab, `stride` bytes each, from row `first`; the query has `stride`
   * components whose product with any row fits 32 bits. Valid until the next call.
   */
  dots(slab: number, first: number, count: number, stride: number, query: Int16Array): Int32Array;
}

/** For engines without SIMD, and what the other one is compared with. */
export class JavaScriptKernel implements DotKernel {
  readonly name = "javascript";
  readonly #slabs: Int8Array[] = [];
  readonly #free: number[] = [];
  readonly #dots = new Int32Array(SLAB_BYTES / ROW_ALIGNMENT);

  allocate(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    this.#slabs.push(new Int8Array(SLAB_BYTES));
    return this.#slabs.length - 1;
  }

  release(slab: number): void {
    this.#free.push(slab);
  }

  bytes(slab: number): Int8Array {
    return this.#slabs[slab]!;
  }

  dots(slab: number, first: number, count: number, stride: number, query: Int16Array): Int32Array {
    const rows = this.#slabs[slab]!;
    for (let row = 0; row < count; row++) {
      const start = (first + row) * stride;
      let sum = 0;
      for (let i = 0; i < stride; i++) sum += rows[start + i]! * query[i]!;
      this.#dots[row] = sum;
    }
    return this.#dots.subarray(0, count);
  }
}

const PAGE_BYTES = 65_536;
const MOST_PAGES = 65_536;
const QUERY_AT = 0;
const DOTS_AT = PAGE_BYTES;
const FIRST_SLAB_PAGE = 2;
/** Pages asked for at once, at least. */
const LEAST_GROWTH = 16;

/** What is used of the engine's WebAssembly, which the types of Node 20 leave out. */
interface WebAssemblyEngine {
  validate(bytes: Uint8Array): boolean;
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { exports: unknown };
}
const engine = (globalThis as { WebAssembly?: unknown }).WebAssembly as WebAssemblyEngine | undefined;

interface KernelExports {
  memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  dots(row: number, count: number, stride: number, query: number, out: number): void;
}

/** A slab is a page of the WebAssembly memory, its number the page's. */
export class WasmKernel implements DotKernel {
  readonly name = "wasm-simd";
  readonly #exports: KernelExports;
  readonly #free: number[] = [];
  #pages = FIRST_SLAB_PAGE;
  #lastQuery: Int16Array | undefined;
  #bytes: Int8Array;
  #dots: Int32Array;

  constructor() {
    if (engine === undefined) throw new Error("This engine has no WebAssembly; use the JavaScriptKernel.");
    this.#exports = new engine.Instance(new engine.Module(dotKernelWasm)).exports as KernelExports;
    this.#bytes = new Int8Array(this.#exports.memory.buffer);
    this.#dots = new Int32Array(this.#exports.memory.buffer, DOTS_AT, PAGE_BYTES / 4);
  }

  /** Whether the engine has what the kernel needs. */
  static isSupported(): boolean {
    return engine?.validate(dotKernelWasm) === true;
  }

  allocate(): number {
    if (this.#free.length === 0) this.#grow();
    return this.#free.pop()!;
  }

  #grow(): void {
    const pages = Math.min(Math.max(LEAST_GROWTH, this.#pages >> 3), MOST_PAGES - this.#pages);
    try {
      if (pages === 0) throw new RangeError("WebAssembly memories end at 4 GB.");
      this.#exports.memory.grow(pages);
    } catch (cause) {
      throw new VectorMemoryError({ cause });
    }
    // The old views lost their memory when it grew.
    this.#bytes = new Int8Array(this.#exports.memory.buffer);
    this.#dots = new Int32Array(this.#exports.memory.buffer, DOTS_AT, PAGE_BYTES / 4);
    for (let page = this.#pages + pages - 1; page >= this.#pages; page--) this.#free.push(page);
    this.#pages += pages;
  }

  release(slab: number): void {
    this.#free.push(slab);
  }

  bytes(slab: number): Int8Array {
    return this.#bytes.subarray(slab * PAGE_BYTES, slab * PAGE_BYTES + SLAB_BYTES);
  }

  dots(slab: number, first: number, count: number, stride: number, query: Int16Array): Int32Array {
    if (query !== this.#lastQuery) {
      new Int16Array(this.#exports.memory.buffer, QUERY_AT, query.length).set(query);
      this.#lastQuery = query;
    }
    this.#exports.dots(slab * PAGE_BYTES + first * stride, count, stride, QUERY_AT, DOTS_AT);
    return this.#dots;
  }
}

let shared: DotKernel | undefined;

/** The process's kernel: every collection's vectors share its memory. */
export function sharedKernel(): DotKernel {
  return (shared ??= WasmKernel.isSupported() ? new WasmKernel() : new JavaScriptKernel());
}
