import { Gauge } from "prom-client";
import type { Metrics } from "../../../runtime/metrics.js";
import type { Limits } from "../limits.js";
import type { QueueCounts, QueueStore } from "./store.js";

const PRIORITIES = ["critical", "high", "normal", "low"] as const;

/** Gauges of every queue, read from the store when they are asked for; all replicas show the same. */
export function registerQueueMetrics({ registry }: Metrics, store: QueueStore, limits: () => Limits): void {
  const gauge = (name: string, help: string, labelNames: string[], set: (gauge: Gauge, queue: string, counts: QueueCounts) => void) => {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [registry],
      async collect() {
        this.reset();
        const read = async (settings: Parameters<QueueStore["counts"]>[0]) => set(this, settings.name, await store.counts(settings));
        // A store that does not answer leaves a gap, which says more than an old number.
        await Promise.allSettled([...limits().queues.values()].map(read));
      },
    });
  };
  gauge("ratelimit_queue_depth", "Items that wait in a queue.", ["queue", "priority"], (depth, queue, { waiting }) => {
    PRIORITIES.forEach((priority, i) => depth.set({ queue, priority }, waiting[i]!.depth));
  });
  gauge("ratelimit_queue_oldest_age_seconds", "How long the oldest waiting item has waited.", ["queue", "priority"], (age, queue, { waiting }) => {
    PRIORITIES.forEach((priority, i) => age.set({ queue, priority }, waiting[i]!.oldestAgeMs / 1_000));
  });
  gauge("ratelimit_queue_in_flight", "Items that workers hold.", ["queue"], (flight, queue, { inFlight }) => {
    flight.set({ queue }, inFlight);
  });
}
