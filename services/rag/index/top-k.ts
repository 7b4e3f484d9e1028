/** A chunk and what it scored. */
export interface Scored {
  chunkId: number;
  score: number;
}

/** Keeps the k best of many offers: higher scores first, of equal ones the lower id. A binary heap with the worst on top. */
export class TopK {
  readonly #k: number;
  readonly #ids: number[] = [];
  readonly #scores: number[] = [];

  constructor(k: number) {
    this.#k = k;
  }

  /** Offers below this are not taken; equal ones may be. */
  get threshold(): number {
    return this.#ids.length < this.#k ? -Infinity : (this.#scores[0] ?? Infinity);
  }

  offer(chunkId: number, score: number): void {
    if (this.#ids.length < this.#k) {
      this.#ids.push(chunkId);
      this.#scores.push(score);
      this.#rise(this.#ids.length - 1);
    } else if (this.#k > 0 && isWorse(this.#scores[0]!, this.#ids[0]!, score, chunkId)) {
      this.#ids[0] = chunkId;
      this.#scores[0] = score;
      this.#sink(0);
    }
  }

  /** The best first. */
  sorted(): Scored[] {
    return this.#ids
      .map((chunkId, i) => ({ chunkId, score: this.#scores[i]! }))
      .sort((a, b) => b.score - a.score || a.chunkId - b.chunkId);
  }

  #rise(from: number): void {
    for (let at = from; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#worse(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #sink(from: number): void {
    for (let at = from; ; ) {
      const left = 2 * at + 1;
      if (left >= this.#ids.length) return;
      const child = left + 1 < this.#ids.length && this.#worse(left + 1, left) ? left + 1 : left;
      if (!this.#worse(child, at)) return;
      this.#swap(at, child);
      at = child;
    }
  }

  #worse(a: number, b: number): boolean {
    return isWorse(this.#scores[a]!, this.#ids[a]!, this.#scores[b]!, this.#ids[b]!);
  }

  #swap(a: number, b: number): void {
    [this.#ids[a], this.#ids[b]] = [this.#ids[b]!, this.#ids[a]!];
    [this.#scores[a], this.#scores[b]] = [this.#scores[b]!, this.#scores[a]!];
  }
}

function isWorse(scoreA: number, idA: number, scoreB: number, idB: number): boolean {
  return scoreA < scoreB || (scoreA === scoreB && idA > idB);
}
