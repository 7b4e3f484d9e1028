import { overloaded } from "./errors.js";

/** Bounds the runs of this replica: what is beyond is refused at once, for another replica or a later try. */
export class RunSlots {
  readonly limit: number;
  #taken = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Runs `work` in a slot. Throws RESOURCE_EXHAUSTED OVERLOADED when all are taken. */
  async *hold<T>(work: () => AsyncIterable<T>): AsyncGenerator<T> {
    if (this.#taken >= this.limit) throw overloaded(this.limit);
    this.#taken += 1;
    try {
      yield* work();
    } finally {
      this.#taken -= 1;
    }
  }
}
