import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { Clock } from "../../runtime/clock.js";
import { overriding } from "../../runtime/overriding.js";
import type { CheckpointStore } from "./store.js";

/** A thread that was written to within this time is active, in milliseconds. */
const ACTIVE_MS = 5 * 60_000;
/** Threads that are remembered: beyond it the gauge stays at this number. */
const MAX_REMEMBERED = 100_000;

/** The store, with what is put into it through this replica counted. */
export function measuredStore(store: CheckpointStore, registry: Registry, clock: Clock): CheckpointStore {
  const puts = new Counter({
    name: "checkpoint_puts_total",
    help: "Puts of checkpoints and of tasks' writes that were stored.",
    registers: [registry],
  });
  const duration = new Histogram({
    name: "checkpoint_put_seconds",
    help: "Time until the store had made a put durable, or refused it.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [registry],
  });
  const bytes = new Counter({
    name: "checkpoint_stored_bytes_total",
    help: "Bytes of contents that puts added, as they are stored.",
    registers: [registry],
  });
  /** When threads were written to last, the longest ago first. */
  const written = new Map<string, number>();
  new Gauge({
    name: "checkpoint_active_threads",
    help: "Threads that were written to through this replica within five minutes.",
    registers: [registry],
    collect() {
      for (const [thread, at] of written) {
        if (clock.monotonic() - at < ACTIVE_MS) break;
        written.delete(thread);
      }
      this.set(written.size);
    },
  });
  return overriding(store, {
    async put(thread, batch, addition, context) {
      const started = clock.monotonic();
      const outcome = await store
        .put(thread, batch, addition, context)
        .finally(() => duration.observe((clock.monotonic() - started) / 1000));
      if (outcome.missing.length > 0) return outcome;
      puts.inc();
      bytes.inc(addition.contents.reduce((sum, { stored }) => sum + stored.length, 0));
      const key = `${thread.tenant}\0${thread.threadId}`;
      written.delete(key);
      if (written.size < MAX_REMEMBERED) written.set(key, clock.monotonic());
      return outcome;
    },
  });
}
