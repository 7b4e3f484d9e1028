import type { RedisClient } from "../../../runtime/redis.js";
import { REDIS_TIME } from "../bucket-script.js";
import { fromRedis } from "../store-redis.js";
import { queueScript } from "./queue-script.js";
import type { DeliveredItem, EnqueueOutcome, HeldOutcome, QueueCounts, QueueSettings, QueueStore } from "./store.js";

const PREFIX = "ragents:ratelimit:queue:";

type QueueCommand = (key: string, request: string, payload: Uint8Array | string) => Promise<Buffer[]>;

interface StoredItem extends Omit<DeliveredItem, "payload" | "enqueuedAt"> {
  at: number;
}

export interface RedisQueuesOptions {
  client: RedisClient;
  /** A connection that does nothing but listen; closed with the store. */
  subscriber: RedisClient;
  /** Lua that sets `now`. Default: Redis' own clock. */
  timeSource?: string;
}

/** Queues in Redis: all replicas share them, and tell each other by publishing when there may be work. */
export function openRedisQueues({ client, subscriber, timeSource = REDIS_TIME }: RedisQueuesOptions): QueueStore {
  client.defineCommand("ragentsQueue", { numberOfKeys: 1, lua: queueScript(timeSource) });
  const command = (client as unknown as { ragentsQueueBuffer: QueueCommand }).ragentsQueueBuffer.bind(client);
  const watchers = new Map<string, Set<() => void>>();
  subscriber.on("message", (channel: string) => {
    for (const changed of watchers.get(channel) ?? []) changed();
  });

  async function run<T>({ name, ...settings }: QueueSettings, request: object, payload: Uint8Array = EMPTY): Promise<[T, Buffer[]]> {
    const [answer, ...payloads] = await fromRedis(command(keyOf(name), JSON.stringify({ ...settings, ...request }), Buffer.from(payload)));
    return [JSON.parse(String(answer)) as T, payloads];
  }

  const outcomeOf = async <T>(settings: QueueSettings, request: object): Promise<T> =>
    (await run<{ outcome: T }>(settings, request))[0].outcome;

  return {
    async enqueue(settings, { payload, ...item }) {
      return (await run<EnqueueOutcome>(settings, { op: "enqueue", wakes: true, ...item }, payload))[0];
    },
    async dequeue(settings, worker, lease, maxInFlight, leaseMs) {
      const request = { op: "dequeue", worker, lease, maxInFlight, leaseMs };
      const [answer, payloads] = await run<{ items: StoredItem[]; nextMs?: number }>(settings, request);
      // An empty list is an empty object in Lua's JSON.
      const stored = Array.isArray(answer.items) ? answer.items : [];
      const items = stored.map(({ id, tenant, priority, at, attempt }, i) => ({
        ...{ id, tenant, priority, attempt, enqueuedAt: at, payload: payloads[i]! },
      }));
      return { items, nextMs: answer.nextMs };
    },
    ack: (settings, id, lease) => outcomeOf<HeldOutcome>(settings, { op: "ack", wakes: true, id, lease }),
    nack: (settings, id, lease, delayMs) => outcomeOf<HeldOutcome>(settings, { op: "nack", wakes: true, id, lease, delayMs }),
    extend: (settings, id, lease, leaseMs) => outcomeOf<HeldOutcome>(settings, { op: "extend", id, lease, leaseMs }),
    cancel: (settings, tenant, id) => outcomeOf(settings, { op: "cancel", wakes: true, tenant, id }),
    async counts(settings) {
      return (await run<QueueCounts>(settings, { op: "counts" }))[0];
    },
    watch({ name }, changed) {
      const channel = `${keyOf(name)}:changed`;
      let listening = watchers.get(channel);
      if (listening === undefined) {
        listening = new Set();
        watchers.set(channel, listening);
        // Where that fails, those who wait look again by themselves.
        subscriber.subscribe(channel).catch(() => watchers.delete(channel));
      }
      listening.add(changed);
      return () => listening.delete(changed);
    },
    async close() {
      subscriber.disconnect();
    },
  };
}

const EMPTY = new Uint8Array();

function keyOf(name: string): string {
  return `${PREFIX}{${name}}`;
}
