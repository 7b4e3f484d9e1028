import { EventEmitter } from "node:events";
import type { Clock } from "../../../runtime/clock.js";
import { MemoryQueue } from "./memory-queue.js";
import type { QueueSettings, QueueStore } from "./store.js";

/** Queues in this process's memory: for one replica, and gone with it. */
export function openMemoryQueues(clock: Clock): QueueStore {
  const queues = new Map<string, MemoryQueue>();
  const changes = new EventEmitter().setMaxListeners(0);
  // The wall clock may be set back, and ages must not be negative then.
  let latest = 0;
  const now = () => (latest = Math.max(latest, Math.floor(clock.now())));

  function queueOf({ name }: QueueSettings): MemoryQueue {
    let queue = queues.get(name);
    if (queue === undefined) {
      queue = new MemoryQueue();
      queues.set(name, queue);
    }
    return queue;
  }

  /** What makes room or work, told to those who wait for it. */
  async function changing<T>(settings: QueueSettings, change: (queue: MemoryQueue) => T): Promise<T> {
    const outcome = change(queueOf(settings));
    changes.emit(settings.name);
    return outcome;
  }

  return {
    enqueue: (settings, item) => changing(settings, (queue) => queue.enqueue(settings, item, now())),
    async dequeue(settings, worker, lease, maxInFlight, leaseMs) {
      const queue = queueOf(settings);
      return { items: queue.dequeue(settings, worker, lease, maxInFlight, leaseMs, now()), nextMs: queue.nextMs(now()) };
    },
    ack: (settings, id, lease) => changing(settings, (queue) => queue.ack(settings, id, lease, now())),
    nack: (settings, id, lease, delayMs) => changing(settings, (queue) => queue.nack(settings, id, lease, delayMs, now())),
    extend: async (settings, id, lease, leaseMs) => queueOf(settings).extend(settings, id, lease, leaseMs, now()),
    cancel: (settings, tenant, id) => changing(settings, (queue) => queue.cancel(settings, tenant, id, now())),
    counts: async (settings) => queueOf(settings).counts(settings, now()),
    watch(settings, changed) {
      changes.on(settings.name, changed);
      return () => changes.off(settings.name, changed);
    },
    async close() {
      queues.clear();
    },
  };
}
