import { Counter, type Registry } from "prom-client";

/** What became of lookups, as this process saw it. */
export interface LookupCounts {
  /** Answered by this process's own memory, or by another call's work at the same time. */
  local: number;
  hit: number;
  miss: number;
  /** The service failed or was silent: a miss to the caller. */
  fault: number;
  /** Not asked, since the service failed several times in a row: a miss to the caller. */
  skipped: number;
}

const NAME = "ragents_cache_client_lookups_total";

export function noCounts(): LookupCounts {
  return { local: 0, hit: 0, miss: 0, fault: 0, skipped: 0 };
}

/** Shows the counts of all clients of a process as one counter; a hit costs an addition, not a call of the metric. */
export function exposeCounts(registry: Registry, counts: LookupCounts): void {
  const known = registry.getSingleMetric(NAME) as (Counter<"result"> & { sources?: LookupCounts[] }) | undefined;
  if (known?.sources !== undefined) {
    known.sources.push(counts);
    return;
  }
  const sources = [counts];
  const counter = new Counter({
    name: NAME,
    help: "Cache lookups of this process, by result.",
    labelNames: ["result"],
    registers: [registry],
    collect() {
      this.reset();
      for (const source of sources) {
        for (const [result, count] of Object.entries(source)) this.inc({ result }, count as number);
      }
    },
  });
  Object.assign(counter, { sources });
}
