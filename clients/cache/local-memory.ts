/** A value in this process's memory. */
export interface LocalEntry {
  /** Resolved with the value: the same promise serves every hit. */
  readonly answer: Promise<Uint8Array>;
  readonly size: number;
  /** On the monotonic clock, in milliseconds. */
  readonly expiresAt: number;
  /** Whether it was asked for since it was last passed over for removal. */
  used: boolean;
  /** Takes it out of the maps that find it. */
  readonly forget: () => void;
}

/** What an entry takes beside its value: the maps' slots, the keys and the objects, measured roughly. */
export const ENTRY_OVERHEAD_BYTES = 500;

/**
 * Bounds the bytes of all entries together. Entries leave in the order of their arrival, but one that was used since
 * its last turn gets another (the "second chance" approximation of least recently used): a hit only sets a flag.
 */
export class LocalMemory {
  readonly #maxBytes: number;
  readonly #queue = new Set<LocalEntry>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether a value of so many bytes can be kept at all. */
  fits(size: number): boolean {
    return size <= this.#maxBytes;
  }

  add(entry: LocalEntry): void {
    this.#queue.add(entry);
    this.#bytes += entry.size;
    for (const oldest of this.#queue) {
      if (this.#bytes <= this.#maxBytes) return;
      if (oldest.used) {
        oldest.used = false;
        this.#queue.delete(oldest);
        this.#queue.add(oldest);
      } else {
        this.remove(oldest);
      }
    }
  }

  remove(entry: LocalEntry): void {
    if (!this.#queue.delete(entry)) return;
    this.#bytes -= entry.size;
    entry.forget();
  }
}
