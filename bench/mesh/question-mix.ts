/** Questions as a large group of people asks them: few are asked often, most once. */
export interface QuestionMix {
  /** The next question. */
  next(): string;
}

/** Numbers from 0 to 1 that are the same in every run (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Questions drawn by Zipf's law: the one at rank r with a weight of 1 / r^exponent. */
export function zipfMix(questions: readonly string[], exponent: number, random: () => number): QuestionMix {
  const cumulative = new Float64Array(questions.length);
  let sum = 0;
  for (let rank = 0; rank < questions.length; rank += 1) cumulative[rank] = sum += 1 / (rank + 1) ** exponent;
  return {
    next() {
      const at = random() * sum;
      let [low, high] = [0, questions.length - 1];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (cumulative[middle]! < at) low = middle + 1;
        else high = middle;
      }
      return questions[low]!;
    },
  };
}

/**
 * The exponent with which so large a part of `requests` questions, after `warmUp` others, has been asked before: found by
 * drawing them. The hit rate of a cache that forgets nothing.
 */
export function exponentFor(hitRate: number, questions: readonly string[], { warmUp, requests }: { warmUp: number; requests: number }): number {
  let [low, high] = [0.1, 3];
  for (let i = 0; i < 20; i += 1) {
    const exponent = (low + high) / 2;
    const mix = zipfMix(questions, exponent, seededRandom(1));
    const asked = new Set<string>();
    let hits = 0;
    for (let n = 0; n < warmUp + requests; n += 1) {
      const question = mix.next();
      if (n >= warmUp && asked.has(question)) hits += 1;
      asked.add(question);
    }
    if (hits / requests < hitRate) low = exponent;
    else high = exponent;
  }
  return (low + high) / 2;
}
