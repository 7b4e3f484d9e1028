import { randomBytes, randomUUID } from "node:crypto";
import type { DeliveredItem, QueueSettings, QueueStore } from "./store.js";

export interface DeliveryOptions {
  store: QueueStore;
  /** The queue as it is configured now. */
  settings: () => QueueSettings;
  maxInFlight: number;
  leaseMs: number;
  /** Ends the delivery. */
  signal: AbortSignal;
}

/** How often a queue is looked at when nobody says that it changed, in milliseconds. */
const LOOK_EVERY_MS = 1_000;

/** Hands items to one worker as they come, until the signal aborts. What was taken and not handed over goes back at once. */
export async function* deliver(options: DeliveryOptions): AsyncGenerator<DeliveredItem & { lease: string }> {
  const { store, signal } = options;
  const worker = randomUUID();
  const bell = new Bell();
  const endWatch = store.watch(options.settings(), () => bell.ring());
  signal.addEventListener("abort", bell.ring, { once: true });
  try {
    while (!signal.aborted) {
      const lease = randomBytes(9).toString("base64url");
      const settings = options.settings();
      const { items, nextMs } = await store.dequeue(settings, worker, lease, options.maxInFlight, options.leaseMs);
      try {
        while (items.length > 0) {
          if (signal.aborted) return;
          yield { ...items.shift()!, lease };
        }
      } finally {
        // An item that cannot be given back goes to another worker when its lease ends.
        await Promise.allSettled(items.map(({ id }) => store.nack(settings, id, lease, 0)));
      }
      await bell.rung(Math.min(nextMs ?? LOOK_EVERY_MS, LOOK_EVERY_MS));
    }
  } finally {
    endWatch();
    signal.removeEventListener("abort", bell.ring);
  }
}

/** Wakes one who waits; a ring that nobody waits for is heard by the next. */
class Bell {
  #heard = false;
  #wake: (() => void) | undefined;

  readonly ring = (): void => {
    this.#heard = true;
    this.#wake?.();
  };

  /** Resolves at the next ring, and after `ms` at the latest. */
  async rung(ms: number): Promise<void> {
    if (!this.#heard) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, ms);
      });
      clearTimeout(timer);
    }
    this.#heard = false;
    this.#wake = undefined;
  }
}
