import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { RateLimiterRedis } from "rate-limiter-flexible";
import { startRedis } from "../tests/servers/redis.js";
import { startServiceProcess } from "../tests/servers/service-process.js";
import { built } from "./built.js";
import { type Bench, type Figure, figure, median } from "./figure.js";

const ROUNDS = 5;
const CONCURRENCY = 64;
const USERS = 1_000;
const PER_MINUTE = 60;
const LARGE_PER_MINUTE = 60_000_000;
const LARGE_KEYS = 10;
const LARGE_REQUESTS = 200_000;

/** The peer has windows of a minute that begin with a user's first request and hold all that the minute gives. */
const LIMITS = `
keys:
  - { key: "user:*", limit: { burst: ${PER_MINUTE}, per_minute: ${PER_MINUTE} } }
  - { key: "large:*", limit: { burst: ${LARGE_PER_MINUTE}, per_minute: ${LARGE_PER_MINUTE} } }
`;

/** Takes one token of a key; throws when it is refused, for all that is measured is within its limit. */
type Take = (key: string) => Promise<void>;

interface Measured {
  perSecond: number;
  p50Ms: number;
}

/** Makes one request for each key of the list, in its order. */
async function measure(keys: readonly string[], take: Take): Promise<Measured> {
  const latencies = new Float64Array(keys.length);
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < keys.length; i = next++) {
      const asked = performance.now();
      await take(keys[i]!);
      latencies[i] = performance.now() - asked;
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  const seconds = (performance.now() - started) / 1_000;
  return { perSecond: keys.length / seconds, p50Ms: latencies.sort()[keys.length >> 1]! };
}

/** Every user's minute, all of it, in a random order that is the same for both. */
function usersMinute(round: number): string[] {
  const keys = Array.from({ length: USERS * PER_MINUTE }, (_, i) => `user:${round}:${i % USERS}`);
  let seed = round + 1;
  for (let i = keys.length - 1; i > 0; i -= 1) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    const j = seed % (i + 1);
    [keys[i], keys[j]] = [keys[j]!, keys[i]!];
  }
  return keys;
}

const largeKeys = (round: number) => Array.from({ length: LARGE_REQUESTS }, (_, i) => `large:${round}:${i % LARGE_KEYS}`);

/** Both in turns, each round on new keys; the first round warms up. */
async function compare(keysOf: (round: number) => string[], ours: Take, peer: Take): Promise<{ ours: Measured; peer: Measured }> {
  const rounds: { ours: Measured; peer: Measured }[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const keys = keysOf(round);
    const measured = { ours: await measure(keys, ours), peer: await measure(keys, peer) };
    if (round > 0) rounds.push(measured);
  }
  const middle = (who: "ours" | "peer"): Measured => ({
    perSecond: median(rounds.map((round) => round[who].perSecond)),
    p50Ms: median(rounds.map((round) => round[who].p50Ms)),
  });
  return { ours: middle("ours"), peer: middle("peer") };
}

async function run(): Promise<Figure[]> {
  const { RateLimiter } = await built<typeof import("../clients/ratelimit/index.js")>("clients/ratelimit/index.js");
  const folder = await mkdtemp(join(tmpdir(), "ragents-bench-"));
  const path = join(folder, "limits.yaml");
  await writeFile(path, LIMITS);
  const server = await startRedis({ own: true });
  const env = { RAGENTS_RATELIMIT_URL: server.url, RAGENTS_RATELIMIT_CONFIG: path };
  const service = await startServiceProcess("ratelimit", env, { built: true });
  const limiter = new RateLimiter({ address: service.address, onUnavailable: "closed", patienceMs: 5_000 });
  const redis = new Redis(server.url);
  const peerLimiter = (points: number) => new RateLimiterRedis({ storeClient: redis, points, duration: 60 });
  const [perMinute, large] = [peerLimiter(PER_MINUTE), peerLimiter(LARGE_PER_MINUTE)];
  const ours: Take = async (key) => {
    const decision = await limiter.check(key);
    if (!decision.allowed || decision.degraded) throw new Error(`${key} was refused`);
  };
  try {
    const users = await compare(usersMinute, ours, async (key) => void (await perMinute.consume(key)));
    const quotas = await compare(largeKeys, ours, async (key) => void (await large.consume(key)));
    const both = (of: { ours: Measured; peer: Measured }, value: keyof Measured) => ({ ours: of.ours[value], peer: of.peer[value] });
    const throughput = { unit: "decisions/s", better: "higher" } as const;
    const latency = { unit: "ms", better: "lower" } as const;
    const peer = "vs rate-limiter-flexible, c=64";
    return [
      figure({ name: `${USERS} users at ${PER_MINUTE} per-minute ${peer}`, ...both(users, "perSecond"), ...throughput, aim: 5 }),
      figure({ name: `large quotas ${peer}`, ...both(quotas, "perSecond"), ...throughput, aim: 20 }),
      figure({ name: `p50 of ${USERS} users at ${PER_MINUTE} per-minute ${peer}`, ...both(users, "p50Ms"), ...latency, aim: 5 }),
      figure({ name: `p50 of large quotas ${peer}`, ...both(quotas, "p50Ms"), ...latency, aim: 20 }),
    ];
  } finally {
    await limiter.close();
    redis.disconnect();
    await service.stop();
    await server.stop();
    await rm(folder, { recursive: true });
  }
}

export const bench: Bench = { packages: ["rate-limiter-flexible", "ioredis", "@grpc/grpc-js"], run };
