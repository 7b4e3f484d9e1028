import { randomUUID } from "node:crypto";
import type { RedisClient } from "../../runtime/redis.js";

/** The time of scripts that run inside of a Redis, which only the test moves. */
export interface RedisClock {
  /** Lua that sets `now`. */
  readonly timeSource: string;
  /** Moves the time by `ms`, back when negative. */
  pass(ms: number): Promise<void>;
}

/** Their slots are of three different nodes of a test's cluster: a script can read the key that its own node has. */
const TAGS = ["a", "b", "c"];

/** Starts at the beginning of 2026; for one Redis and for a cluster of tests/servers/redis-cluster.ts. */
export async function startRedisClock(client: RedisClient): Promise<RedisClock> {
  const id = randomUUID();
  const keys = TAGS.map((tag) => `ragents:test:clock:{${tag}}:${id}`);
  await Promise.all(keys.map((key) => client.set(key, Date.UTC(2026, 0, 1))));
  return {
    timeSource: `
local now
for _, key in ipairs({ ${keys.map((key) => `'${key}'`).join(", ")} }) do
  local mine, value = pcall(redis.call, 'GET', key)
  if mine and value then now = tonumber(value) end
end`,
    async pass(ms) {
      await Promise.all(keys.map((key) => client.incrby(key, ms)));
    },
  };
}
