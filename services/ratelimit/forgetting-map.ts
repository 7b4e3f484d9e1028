/** Entries that are other keys' business to forget: a new key looks at so many, faster than keys can be added. */
const SWEPT_PER_NEW_KEY = 4;

/** A map whose entries are forgotten some time after their moment has come, by and by as new ones arrive. */
export class ForgettingMap<T> {
  readonly #entries = new Map<string, { value: T; forgetAt: number }>();
  readonly #maxKeys: number;
  #sweep = this.#entries.entries();

  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys;
  }

  get(key: string): T | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Whether there is room for `key` at `now`. */
  hasRoomFor(key: string, now: number): boolean {
    if (this.#entries.has(key)) return true;
    this.#forget(now);
    return this.#entries.size < this.#maxKeys;
  }

  set(key: string, value: T, forgetAt: number): void {
    this.#entries.set(key, { value, forgetAt });
  }

  get size(): number {
    return this.#entries.size;
  }

  clear(): void {
    this.#entries.clear();
  }

  #forget(now: number): void {
    for (let i = 0; i < SWEPT_PER_NEW_KEY; i += 1) {
      const step = this.#sweep.next();
      if (step.done === true) {
        this.#sweep = this.#entries.entries();
        return;
      }
      const [key, { forgetAt }] = step.value;
      if (forgetAt <= now) this.#entries.delete(key);
    }
  }
}
