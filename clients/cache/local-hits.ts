import type { CacheKind } from "../../gen/ragents/cache/v1/cache_pb.js";

const REPORT_AFTER_MS = 100;
/** One report's limit; the rest goes with the next. */
const MAX_REPORTED = 1_000_000_000;

/** Counts hits of this process's own memory, and reports them together: the service's statistics are of all hits. */
export class LocalHits {
  readonly #report: (hits: { kind: CacheKind; count: bigint }[]) => Promise<void>;
  /** By kind. */
  readonly #counts: number[] = [0, 0, 0, 0, 0];
  #timer: NodeJS.Timeout | undefined;

  constructor(report: (hits: { kind: CacheKind; count: bigint }[]) => Promise<void>) {
    this.#report = report;
  }

  add(kind: CacheKind): void {
    this.#counts[kind]! += 1;
    this.#timer ??= setTimeout(() => void this.flush(), REPORT_AFTER_MS).unref();
  }

  /** Reports what was counted; what cannot be reported now goes with the next report. Never rejects. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const counts = this.#counts.map((count) => Math.min(count, MAX_REPORTED));
    const hits = counts.flatMap((count, kind) => (count > 0 ? [{ kind: kind as CacheKind, count: BigInt(count) }] : []));
    if (hits.length === 0) return;
    counts.forEach((count, kind) => (this.#counts[kind]! -= count));
    await this.#report(hits).catch(() => {
      counts.forEach((count, kind) => (this.#counts[kind]! += count));
    });
  }
}
