import { corrupt } from "./bytes.js";

/** Which of a segment's chunks are deleted, by their local numbers. Never changed: a deletion makes a new one. */
export class Tombstones {
  /** Local numbers are below this. */
  readonly size: number;
  /** How many are deleted. */
  readonly count: number;
  readonly #bits: Uint8Array;

  private constructor(size: number, bits: Uint8Array) {
    this.size = size;
    this.#bits = bits;
    let count = 0;
    for (const byte of bits) for (let rest = byte; rest !== 0; rest &= rest - 1) count++;
    this.count = count;
  }

  /** Nothing is deleted of `size` chunks. */
  static none(size: number): Tombstones {
    return new Tombstones(size, new Uint8Array(Math.ceil(size / 8)));
  }

  /** @throws IndexFormatError when the bytes are not those of a bitmap of `size` bits. */
  static decode(bytes: Uint8Array, size: number): Tombstones {
    if (bytes.length !== Math.ceil(size / 8)) corrupt(`A bitmap of ${bytes.length} bytes does not hold the tombstones of ${size} chunks`);
    if (size % 8 !== 0 && bytes.at(-1)! >> size % 8 !== 0) corrupt("A tombstone lies behind the last chunk");
    return new Tombstones(size, bytes.slice());
  }

  encode(): Uint8Array {
    return this.#bits.slice();
  }

  has(local: number): boolean {
    return ((this.#bits[local >> 3]! >> (local & 7)) & 1) === 1;
  }

  /** These and the given ones. */
  with(locals: Iterable<number>): Tombstones {
    const bits = this.#bits.slice();
    for (const local of locals) {
      if (!Number.isInteger(local) || local < 0 || local >= this.size) {
        throw new RangeError(`There is no chunk ${local} in a segment of ${this.size} chunks.`);
      }
      bits[local >> 3]! |= 1 << (local & 7);
    }
    return new Tombstones(this.size, bits);
  }

  /** Deleted local numbers, ascending. */
  *[Symbol.iterator](): Generator<number> {
    for (let local = 0; local < this.size; local++) {
      if (this.#bits[local >> 3] === 0) local |= 7;
      else if (this.has(local)) yield local;
    }
  }
}
