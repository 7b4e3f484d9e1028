import { randomBytes } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { Redis } from "ioredis";
import { createClient } from "redis";
import type { CacheClient } from "../clients/cache/index.js";
import { startRedis } from "../tests/servers/redis.js";
import { startServiceProcess } from "../tests/servers/service-process.js";
import { built } from "./built.js";
import { type Bench, type Figure, figure, inTurns } from "./figure.js";

const VALUE_BYTES = 1_500;
const KEYS = 2_000;
const ROUNDS = 5;
const ROUND_MS = 1_000;
const WARM_UP_MS = 3_000;
const CONCURRENCY = 64;
/** Changes of a round, and how long others may be shown what was there before, in milliseconds. */
const CHANGES = 50;
const INVALIDATION_MS = 50;

const scope = { collection: "bench", epoch: 1, model: "static-256", parameters: "{}" };
const texts = Array.from({ length: KEYS }, (_, i) => `What does paragraph ${i} of the handbook say?`);

/** Hits a second of `get` at a concurrency, over all keys in turn. */
async function throughput(concurrency: number, get: (key: string) => Promise<unknown>, ms = ROUND_MS): Promise<number> {
  let hits = 0;
  let misses = 0;
  let next = 0;
  const started = performance.now();
  const end = started + ms;
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

/**
 * Milliseconds from the beginning of a change until another process's caller, at another replica, finds the new value
 * where it had the old one in its memory; the longest of the round.
 */
async function untilSeen(writer: CacheClient, reader: CacheClient): Promise<number> {
  let longest = 0;
  for (let i = 0; i < CHANGES; i += 1) {
    const text = texts[i]!;
    const [before, after] = [randomBytes(16), randomBytes(16)];
    const shows = async (value: Buffer) => value.equals((await reader.get("ANSWER", scope, text)) ?? Buffer.alloc(0));
    do await writer.put("ANSWER", scope, text, before);
    while (!(await shows(before)));
    const started = performance.now();
    void writer.put("ANSWER", scope, text, after);
    while (!(await shows(after))) await turn();
    longest = Math.max(longest, performance.now() - started);
  }
  return longest;
}

async function run(): Promise<Figure[]> {
  const { createCacheClient } = await built<typeof import("../clients/cache/index.js")>("clients/cache/index.js");
  const server = await startRedis({ own: true });
  const start = (nearBytes?: number) =>
    startServiceProcess(
      "cache",
      { RAGENTS_CACHE_URL: server.url, ...(nearBytes !== undefined && { RAGENTS_CACHE_NEAR_BYTES: String(nearBytes) }) },
      { built: true },
    );
  const [service, withoutMemory] = await Promise.all([start(), start(0)]);
  const direct = new Redis(server.url);
  const tracking = createClient({ url: server.url, RESP: 3, clientSideCache: { maxEntries: KEYS * 2, evictPolicy: "LRU", ttl: 0 } });
  const local = createCacheClient({ address: service.address });
  const remote = createCacheClient({ address: service.address, localBytes: 0 });
  const fetching = createCacheClient({ address: withoutMemory.address, localBytes: 0 });
  const elsewhere = createCacheClient({ address: withoutMemory.address });
  try {
    await tracking.connect();
    for (const text of texts) {
      const value = randomBytes(VALUE_BYTES / 2).toString("hex");
      await direct.set(text, value);
      // A put to a service that has just started may come too late for a cache, and counts for nothing.
      do await remote.put("RETRIEVAL", scope, text, Buffer.from(value));
      while ((await remote.get("RETRIEVAL", scope, text)) === undefined);
    }
    // Both compilers have seen every path before the first round.
    for (const client of [remote, fetching, local]) await throughput(CONCURRENCY, (text) => client.get("RETRIEVAL", scope, text), WARM_UP_MS);
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
    const fetched = await inTurns(
      ROUNDS,
      () => throughput(CONCURRENCY, (text) => fetching.get("RETRIEVAL", scope, text)),
      () => throughput(CONCURRENCY, (text) => direct.getBuffer(text)),
    );
    const seen = await inTurns(
      ROUNDS,
      () => untilSeen(remote, elsewhere),
      async () => INVALIDATION_MS,
    );
    const gets = { unit: "gets/s", better: "higher" } as const;
    return [
      figure({ name: "L1 hit vs node-redis client-side cache hit", ...l1, ...gets, aim: 5 }),
      figure({
        name: "L2 hit through the service vs ioredis GET, c=64",
        ...l2,
        ...gets,
        aim: 1,
        missed: "The caller and the service each do about what the direct client does for a hit: with less than a core for each, one waits.",
      }),
      figure({
        name: "L2 hit that the service fetches from Redis vs ioredis GET, c=64",
        ...fetched,
        ...gets,
        aim: 1,
        missed:
          "The service's work for each hit comes on top of Redis's and the caller's, and all three share the cores of one machine. " +
          "Asking Redis and reading its reply is spared for hits that a replica holds in its memory.",
      }),
      figure({
        name: "change seen by a caller at another replica, beside the time it may take",
        ...seen,
        unit: "ms",
        better: "lower",
        aim: 1,
      }),
    ];
  } finally {
    for (const client of [local, remote, fetching, elsewhere]) client.close();
    tracking.destroy();
    direct.disconnect();
    await Promise.all([service.stop(), withoutMemory.stop()]);
    await server.stop();
  }
}

export const bench: Bench = { packages: ["ioredis", "redis", "@grpc/grpc-js"], run };
