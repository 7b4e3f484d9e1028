/** Part of the best score that a drop must have to end the list. */
const LEAST_DROP = 0.2;

/**
 * The ranking up to its largest drop in score, the first one of equals; all of it when no drop is a fifth of the best score.
 * @param ranked the best first.
 */
export function autocut<T extends { readonly score: number }>(ranked: readonly T[]): readonly T[] {
  const best = ranked[0]?.score ?? 0;
  let largest = LEAST_DROP * Math.abs(best);
  let end = ranked.length;
  for (let i = 1; i < ranked.length; i += 1) {
    const drop = ranked[i - 1]!.score - ranked[i]!.score;
    // Equal drops: the first one, so that less is returned; and none where all scores are alike.
    if (drop > largest || (drop === largest && drop > 0 && end === ranked.length)) {
      largest = drop;
      end = i;
    }
  }
  return ranked.slice(0, end);
}
