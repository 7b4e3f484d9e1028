/** Gain of each relevant document, by id. */
type Gains = ReadonlyMap<string, number>;

/** The ids without repetitions, in the order in which they come first. */
export function distinct(ids: Iterable<string>): string[] {
  return [...new Set(ids)];
}

/**
 * Normalised discounted cumulative gain of the first k, 0 to 1: the sum of gain / log2(rank + 1), divided by that of the best
 * possible ranking (Järvelin and Kekäläinen 2002). `ranked` has no repetitions.
 */
export function ndcg(ranked: readonly string[], gains: Gains, k: number): number {
  const discounted = (values: readonly number[]) => values.slice(0, k).reduce((sum, gain, i) => sum + gain / Math.log2(i + 2), 0);
  const ideal = discounted([...gains.values()].sort((a, b) => b - a));
  return ideal === 0 ? 0 : discounted(ranked.map((id) => gains.get(id) ?? 0)) / ideal;
}

/** Part of the relevant documents that is among the first k. */
export function recall(ranked: readonly string[], gains: Gains, k: number): number {
  return gains.size === 0 ? 0 : ranked.slice(0, k).filter((id) => gains.has(id)).length / gains.size;
}

/** One divided by the rank of the first relevant document; 0 when there is none. */
export function reciprocalRank(ranked: readonly string[], gains: Gains): number {
  const at = ranked.findIndex((id) => gains.has(id));
  return at === -1 ? 0 : 1 / (at + 1);
}

/**
 * Context precision, as RAGAS defines it: the mean of precision at the ranks of the relevant passages, 0 when none is relevant.
 * @param relevant whether the passage of each rank is, the best first.
 */
export function contextPrecision(relevant: readonly boolean[]): number {
  let found = 0;
  let sum = 0;
  for (const [i, is] of relevant.entries()) {
    if (!is) continue;
    found += 1;
    sum += found / (i + 1);
  }
  return found === 0 ? 0 : sum / found;
}
