import { create } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { QueueItemSchema } from "../../../gen/ragents/ratelimit/v1/queue_pb.js";
import type { QueueService } from "../../../gen/ragents/ratelimit/v1/queue_service_pb.js";
import { Priority } from "../../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import { currentCall, type Identity } from "../../../runtime/call-context.js";
import { requireMeshService } from "../../../runtime/identity/access.js";
import { shuttingDown, storeUnavailable } from "../limit-errors.js";
import type { Limits } from "../limits.js";
import { StoreUnavailableError } from "../store.js";
import { deliver } from "./delivery.js";
import { itemNotFound, leaseLost, queueFull, unknownQueue } from "./queue-errors.js";
import type { HeldOutcome, QueueSettings, QueueStore } from "./store.js";

export interface QueueHandlerOptions {
  store: QueueStore;
  /** The limits that hold now, and with them the queues. */
  limits: () => Limits;
  /** Aborts when the service stops: streams end. */
  stopping: AbortSignal;
}

const DEFAULT_TTL_MS = 3_600_000;
const DEFAULT_LEASE_MS = 30_000;

/** The queue service over a store. */
export function queueHandlers({ store, limits, stopping }: QueueHandlerOptions): ServiceImpl<typeof QueueService> {
  function settingsOf(name: string): QueueSettings {
    const settings = limits().queue(name);
    if (settings === undefined) throw unknownQueue(name, [...limits().queues.keys()]);
    return settings;
  }

  return {
    async enqueue({ queue, priority, payload, ttl, idempotencyKey }) {
      const settings = settingsOf(queue);
      const outcome = await fromStore(
        store.enqueue(settings, {
          tenant: caller().tenant,
          priority: priority === Priority.UNSPECIFIED ? Priority.NORMAL : priority,
          payload,
          ttlMs: msOf(ttl, DEFAULT_TTL_MS),
          idempotencyKey,
        }),
      );
      if ("full" in outcome) throw queueFull(outcome.full, outcome.full === "queue" ? settings.maxDepth : settings.maxTenantDepth);
      return { item: outcome.id };
    },
    async *dequeue({ queue, maxInFlight, leaseTtl }, context) {
      requireWorker();
      const settings = () => settingsOf(queue);
      const leaseMs = msOf(leaseTtl, DEFAULT_LEASE_MS);
      const signal = AbortSignal.any([context.signal, stopping]);
      try {
        for await (const item of deliver({ store, settings, maxInFlight: maxInFlight || 1, leaseMs, signal })) {
          const { id, tenant, priority, payload, attempt, lease } = item;
          const [enqueueTime, given] = [timestampFromMs(item.enqueuedAt), durationFromMs(leaseMs)];
          yield { item: create(QueueItemSchema, { item: id, tenant, priority, payload, attempt, lease, enqueueTime, leaseTtl: given }) };
        }
      } catch (error) {
        throw inStore(error);
      }
      if (stopping.aborted) throw shuttingDown();
    },
    async ack({ queue, item, lease }) {
      requireWorker();
      held(await fromStore(store.ack(settingsOf(queue), item, lease)));
      return {};
    },
    async nack({ queue, item, lease, delay }) {
      requireWorker();
      return { dropped: held(await fromStore(store.nack(settingsOf(queue), item, lease, msOf(delay, 0)))) === "dropped" };
    },
    async extend({ queue, item, lease, leaseTtl }) {
      requireWorker();
      held(await fromStore(store.extend(settingsOf(queue), item, lease, msOf(leaseTtl, DEFAULT_LEASE_MS))));
      return {};
    },
    async cancel({ queue, item }) {
      const outcome = await fromStore(store.cancel(settingsOf(queue), caller().tenant, item));
      if (outcome === "unknown") throw itemNotFound();
      return { inFlight: outcome === "in_flight" };
    },
    async stats({ queue }) {
      requireWorker();
      const { waiting, ...counts } = await fromStore(store.counts(settingsOf(queue)));
      const byPriority = waiting.map(({ depth, oldestAgeMs }, i) => ({
        priority: (i + 1) as Priority,
        depth: BigInt(depth),
        oldestAge: durationFromMs(oldestAgeMs),
      }));
      const numbers = Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, BigInt(count)]));
      return { waiting: byPriority, ...numbers };
    },
  };
}

function held(outcome: HeldOutcome): "done" | "dropped" {
  if (outcome === "unknown") throw itemNotFound();
  if (outcome === "lost") throw leaseLost();
  return outcome;
}

function caller(): Identity {
  const call = currentCall();
  if (call === undefined) throw new Error("a handler runs inside a call");
  return call.identity;
}

/** Items are of all tenants: whoever takes them must be a service of the mesh, or its operator. */
function requireWorker(): void {
  requireMeshService("Only services of the mesh and its operator may work on queues: their items are of all tenants.");
}

function msOf(duration: Duration | undefined, defaultMs: number): number {
  return duration === undefined ? defaultMs : Math.ceil(durationMs(duration));
}

async function fromStore<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw inStore(error);
  }
}

function inStore(error: unknown): unknown {
  return error instanceof StoreUnavailableError ? storeUnavailable(error) : error;
}
