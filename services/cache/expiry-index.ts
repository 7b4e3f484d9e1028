const BUCKET_MS = 1_000;

/** Finds what has expired without looking at what has not: keys in buckets of a second. */
export class ExpiryIndex {
  readonly #buckets = new Map<number, Map<string, number>>();
  #first: number | undefined;

  /** `at` is in milliseconds on any one clock. */
  add(key: string, at: number): void {
    const number = Math.floor(at / BUCKET_MS);
    let bucket = this.#buckets.get(number);
    if (bucket === undefined) this.#buckets.set(number, (bucket = new Map()));
    bucket.set(key, at);
    if (this.#first === undefined || number < this.#first) this.#first = number;
  }

  /** Forgets a key that was added with this time. */
  delete(key: string, at: number): void {
    const number = Math.floor(at / BUCKET_MS);
    const bucket = this.#buckets.get(number);
    if (bucket?.delete(key) === true && bucket.size === 0) this.#buckets.delete(number);
  }

  /** Removes and returns the keys whose time has come. */
  takeExpired(now: number): string[] {
    const expired: string[] = [];
    const last = Math.floor(now / BUCKET_MS);
    for (let number = this.#first ?? last; number <= last; number += 1) {
      for (const [key, at] of this.#buckets.get(number) ?? []) {
        if (at > now) continue;
        expired.push(key);
        this.delete(key, at);
      }
      this.#first = number;
    }
    if (this.#buckets.size === 0) this.#first = undefined;
    return expired;
  }
}
