import { randomUUID } from "node:crypto";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code } from "@connectrpc/connect";
import type { QueueItem } from "../../gen/ragents/ratelimit/v1/queue_pb.js";
import type { QueueService } from "../../gen/ragents/ratelimit/v1/queue_service_pb.js";
import { Priority } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import { backgroundCall, MESH_IDENTITY, runInCall } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { hasCode } from "../../runtime/errors.js";
import type { RequestPriority } from "./rate-limiter.js";

/** An item for a worker. */
export interface WorkItem {
  readonly id: string;
  readonly tenant: string;
  readonly priority: RequestPriority;
  readonly payload: Uint8Array;
  /** Milliseconds since the Unix epoch. */
  readonly enqueuedAt: number;
  /** 1 for the first delivery. */
  readonly attempt: number;
}

/** Does the work of an item; `signal` aborts when the item is not this worker's any more. */
export type WorkHandler = (item: WorkItem, signal: AbortSignal) => Promise<void>;

export interface WorkOptions {
  /** Items that are worked on at once. Default 1. */
  concurrency?: number;
  /** How long an item stays with a worker that has died, in milliseconds. Default 30,000. */
  leaseMs?: number;
  /** How long an item whose handler rejected is left alone, in milliseconds. Default 1,000. */
  retryDelayMs?: number;
  /** Ends the work. */
  signal: AbortSignal;
}

/** Longest life of one stream: the server's own limit, in milliseconds. */
const STREAM_MS = 3_600_000;
/** Pause before the service is asked again after it went away, in milliseconds. */
const RETRY_PAUSE_MS = 500;

/** Works on the items of one queue. */
export class QueueWorker {
  readonly #client: Client<typeof QueueService>;
  readonly #queue: string;
  readonly #clock: Clock;
  readonly #handler: WorkHandler;
  readonly #options: Required<WorkOptions>;
  readonly #running = new Set<Promise<void>>();

  constructor(client: Client<typeof QueueService>, queue: string, clock: Clock, handler: WorkHandler, options: WorkOptions) {
    this.#client = client;
    this.#queue = queue;
    this.#clock = clock;
    this.#handler = handler;
    this.#options = { concurrency: 1, leaseMs: 30_000, retryDelayMs: 1_000, ...options };
  }

  /** Resolves when the signal has aborted and what was under way has ended. Rejects when the service refuses this worker. */
  async run(): Promise<void> {
    const { signal, concurrency } = this.#options;
    try {
      while (!signal.aborted) {
        // Each stream is a new worker to the service, which does not know what the last one still holds.
        const room = concurrency - this.#running.size;
        if (room === 0) await Promise.race(this.#running);
        else await asWorker(() => this.#stream(room));
      }
    } finally {
      await Promise.all(this.#running);
    }
  }

  async #stream(maxInFlight: number): Promise<void> {
    const { signal, leaseMs } = this.#options;
    const request = { queue: this.#queue, maxInFlight, leaseTtl: durationFromMs(leaseMs) };
    try {
      for await (const { item } of this.#client.dequeue(request, { signal, timeoutMs: STREAM_MS })) {
        if (item === undefined) continue;
        const work = this.#work(item).finally(() => this.#running.delete(work));
        this.#running.add(work);
      }
    } catch (error) {
      if (signal.aborted) return;
      const passes = [Code.Unavailable, Code.DeadlineExceeded, Code.Canceled, Code.ResourceExhausted];
      if (!passes.some((code) => hasCode(error, code))) throw error;
      await this.#clock.sleep(RETRY_PAUSE_MS, signal).catch(() => {});
    }
  }

  /** Never rejects: an item of which the service cannot be told goes to another worker when its lease ends. */
  async #work(item: QueueItem): Promise<void> {
    const held = { queue: this.#queue, item: item.item, lease: item.lease };
    const lost = new AbortController();
    const extending = setInterval(() => void this.#extend(held, lost), this.#options.leaseMs / 3);
    try {
      const call = backgroundCall({ tenant: item.tenant }, randomUUID(), lost.signal);
      await runInCall(call, () => this.#handler(toWorkItem(item), lost.signal));
      if (!lost.signal.aborted) await this.#client.ack(held);
    } catch {
      const delay = durationFromMs(this.#options.retryDelayMs);
      if (!lost.signal.aborted) await this.#client.nack({ ...held, delay }).catch(() => {});
    } finally {
      clearInterval(extending);
    }
  }

  async #extend(held: { queue: string; item: string; lease: string }, lost: AbortController): Promise<void> {
    try {
      await this.#client.extend({ ...held, leaseTtl: durationFromMs(this.#options.leaseMs) });
    } catch (error) {
      // Cancelled by its tenant, or somebody else's by now. Other failures pass, or end with the lease.
      if (hasCode(error, Code.NotFound) || hasCode(error, Code.FailedPrecondition)) lost.abort(error);
    }
  }
}

function asWorker<T>(fn: () => T): T {
  return runInCall(backgroundCall(MESH_IDENTITY, randomUUID(), new AbortController().signal), fn);
}

function toWorkItem(item: QueueItem): WorkItem {
  return {
    id: item.item,
    tenant: item.tenant,
    priority: Priority[item.priority] as RequestPriority,
    payload: item.payload,
    enqueuedAt: item.enqueueTime === undefined ? 0 : timestampMs(item.enqueueTime),
    attempt: item.attempt,
  };
}
