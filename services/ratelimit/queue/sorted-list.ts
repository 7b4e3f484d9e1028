/** Names in the order of their rank, then of the names themselves. */
export class SortedList {
  readonly #entries: { name: string; rank: number }[] = [];

  add(name: string, rank: number): void {
    this.#entries.splice(this.#indexOf(name, rank), 0, { name, rank });
  }

  remove(name: string, rank: number): void {
    const at = this.#indexOf(name, rank);
    if (this.#entries[at]?.name === name) this.#entries.splice(at, 1);
  }

  get first(): { readonly name: string; readonly rank: number } | undefined {
    return this.#entries[0];
  }

  get size(): number {
    return this.#entries.length;
  }

  /** Names of at most this rank, in order. */
  upTo(rank: number): string[] {
    const names: string[] = [];
    for (const entry of this.#entries) {
      if (entry.rank > rank) break;
      names.push(entry.name);
    }
    return names;
  }

  /** Where it is, or would be. */
  #indexOf(name: string, rank: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const entry = this.#entries[middle]!;
      if (entry.rank < rank || (entry.rank === rank && entry.name < name)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
