import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { createCacheClient } from "../clients/cache/index.js";
import { startRedis } from "../tests/servers/redis.js";
import { startServiceProcess } from "../tests/servers/service-process.js";
import { type Bench, type Figure, figure, inTurns } from "./figure.js";

const VALUE_BYTES = 1_500;
const KEYS = 2_000;
const ROUNDS = 5;
const ROUND_MS = 1_000;
const CONCURRENCY = 64;

const scope = { collection: "bench", epoch: 1, model: "static-256", parameters: "{}" };
const texts = Array.from({ length: KEYS }, (_, i) => `What does paragraph ${i} of the handbook say?`);

/** Hits a second of `get` at a concurrency, over all keys in turn. */
async function throughput(concurrency: number, get: (key: string) => Promise<unknown>): Promise<number> {
  let hits = 0;
  let misses = 0;
  let next = 0;
  const started = performance.now();
  const end = started + ROUND_MS;
  const worker = async () => {
    while (performance.now() < end) {
      // Looking at the clock each time would cost as much as a local hit.
      for (let i = 0; i < 20; i += 1) {
        if ((await get(texts[next++ % KEYS]!)) == null) misses += 1;
        else hits += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  if (misses > hits / 100) process.stderr.write(`${misses} misses beside ${hits} hits\n`);
  return (hits / (performance.now() - started)) * 1_000;
}

async function run(): Promise<Figure[]> {
  const server = await startRedis({ own: true });
  const service = await startServiceProcess("cache", { RAGENTS_CACHE_URL: server.url });
  const direct = new Redis(server.url);
  const tracking = createClient({ url: server.url, RESP: 3, clientSideCache: { maxEntries: KEYS * 2, evictPolicy: "LRU", ttl: 0 } });
  const remote = createCacheClient({ address: service.address, localBytes: 0 });
  const local = createCacheClient({ address: service.address });
  try {
    await tracking.connect();
    for (const text of texts) {
      const value = randomBytes(VALUE_BYTES / 2).toString("hex");
      await direct.set(text, value);
      // A put to a service that has just started may come too late for a cache, and counts for nothing.
      do await remote.put("RETRIEVAL", scope, text, Buffer.from(value));
      while ((await remote.get("RETRIEVAL", scope, text)) === undefined);
    }
    const l1 = await inTurns(
      ROUNDS,
      () => throughput(1, (text) => local.get("RETRIEVAL", scope, text)),
      () => throughput(1, (text) => tracking.get(text)),
    );
    const l2 = await inTurns(
      ROUNDS,
      () => throughput(CONCURRENCY, (text) => remote.get("RETRIEVAL", scope, text)),
      () => throughput(CONCURRENCY, (text) => direct.getBuffer(text)),
    );
    return [
      figure({ name: "L1 hit vs node-redis client-side cache hit", ...l1, unit: "gets/s", better: "higher", aim: 5 }),
      figure({ name: "L2 hit through the service vs ioredis GET, c=64", ...l2, unit: "gets/s", better: "higher", aim: 1 }),
    ];
  } finally {
    local.close();
    remote.close();
    tracking.destroy();
    direct.disconnect();
    await service.stop();
    await server.stop();
  }
}

export const bench: Bench = { packages: ["ioredis", "redis", "@grpc/grpc-js"], run };
