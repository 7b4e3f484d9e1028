/** One comparison: we and the peer did the same work in the same run. */
export interface Figure {
  name: string;
  /** What was measured of ours and of the peer, in `unit`; medians of the repetitions. */
  ours: number;
  peer: number;
  /** How many times better ours is. */
  ratio: number;
  unit: string;
  /** The least ratio aimed at. */
  aim: number;
  /** The aim is the largest ratio instead. */
  atMost?: boolean;
  /** Why, where the aim is missed; shown only then. */
  missed?: string;
}

/** A benchmark: bench/<name>.ts exports one as `bench`. */
export interface Bench {
  /** Of the packages that are measured against each other. */
  packages: string[];
  /** Of the servers used, e.g. { Redis: "7.0.15" }; asked for after `run`. */
  serverVersions?(): Record<string, string>;
  /** Measures ours and the peer in turns. Starts and stops what it needs. */
  run(): Promise<Figure[]>;
}

/** A figure with its ratio: of the larger to the smaller where higher is better, else of the smaller to the larger. */
export function figure(of: Omit<Figure, "ratio"> & { better: "higher" | "lower" }): Figure {
  const { better, ...rest } = of;
  return { ...rest, ratio: better === "higher" ? of.ours / of.peer : of.peer / of.ours };
}

/** The middle one of the values; the mean of the middle two of an even number. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * Measures the two in turns, `rounds` times after a warm-up round, and returns the medians: a busy moment hits both. Both are told
 * the round, the warm-up's being 0.
 */
export async function inTurns(
  rounds: number,
  ours: (round: number) => Promise<number>,
  peer: (round: number) => Promise<number>,
): Promise<{ ours: number; peer: number }> {
  const measured: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  for (let round = 0; round <= rounds; round += 1) {
    const [mine, theirs] = [await ours(round), await peer(round)];
    if (round === 0) continue;
    measured.ours.push(mine);
    measured.peer.push(theirs);
  }
  return { ours: median(measured.ours), peer: median(measured.peer) };
}
