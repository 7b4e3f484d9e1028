import { runBeyondCall } from "./call-context.js";

/** How long those who ask wait for a read that is under way, in milliseconds: one that hangs holds nobody up for longer. */
const PATIENCE_MS = 50;

/**
 * Reads of what changes, each done for many: nobody gets what was read before they asked. The first who asks has it read at once; those
 * who ask while that is under way share the read that begins when it ends.
 */
export class SharedReads<T> {
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #next = new Map<string, Promise<T>>();

  /** Settles as `read` does, or that of another who asked for the same key. It is not given up with the call of the one who was first. */
  get(key: string, read: () => Promise<T>): Promise<T> {
    const before = this.#underWay.get(key);
    if (before === undefined) return this.#begin(key, read);
    let next = this.#next.get(key);
    if (next === undefined) {
      next = atMost(PATIENCE_MS, before).then(() => {
        this.#next.delete(key);
        return this.#begin(key, read);
      });
      this.#next.set(key, next);
    }
    return next;
  }

  #begin(key: string, read: () => Promise<T>): Promise<T> {
    const reading = runBeyondCall(read);
    const end = () => {
      if (this.#underWay.get(key) === ended) this.#underWay.delete(key);
    };
    const ended = reading.then(end, end);
    this.#underWay.set(key, ended);
    return reading;
  }
}

function atMost(ms: number, ended: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    void ended.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
