import { Cluster } from "ioredis";
import { ConfigError } from "../../../runtime/config.js";
import type { RedisClient } from "../../../runtime/redis.js";

const WAY_OUT = "or set RAGENTS_CHECKPOINT_REDIS_DURABLE=false to accept that acknowledged checkpoints may be lost";

/**
 * Makes sure that a Redis keeps what it acknowledged: every write is on disk
 * before its answer (appendonly yes, appendfsync always), and nothing is evicted
 * when memory is full. Throws ConfigError saying what to change.
 */
export async function requireDurableRedis(client: RedisClient): Promise<void> {
  const masters = client instanceof Cluster ? client.nodes("master") : [client];
  for (const master of masters) {
    const settings = await master.config("GET", "append*").then(pairs, () => undefined);
    const memory = await master.config("GET", "maxmemory*").then(pairs, () => undefined);
    if (settings === undefined || memory === undefined) {
      throw new ConfigError(`Redis does not tell how durable it is (CONFIG GET is refused): allow it, ${WAY_OUT}.`);
    }
    if (settings.get("appendonly") !== "yes" || settings.get("appendfsync") !== "always") {
      throw new ConfigError(
        `The checkpoints' Redis would lose what it acknowledged: start it with --appendonly yes --appendfsync always, ${WAY_OUT}.`,
      );
    }
    if (memory.get("maxmemory") !== "0" && memory.get("maxmemory-policy") !== "noeviction") {
      throw new ConfigError(
        `The checkpoints' Redis would evict checkpoints when its memory is full: give them a Redis of their own with --maxmemory-policy noeviction, ${WAY_OUT}.`,
      );
    }
  }
}

/** CONFIG GET answers name and value in turn, or an object with RESP3. */
function pairs(answer: unknown): Map<string, string> {
  if (!Array.isArray(answer)) return new Map(Object.entries(answer as Record<string, string>));
  const entries: [string, string][] = [];
  for (let i = 0; i + 1 < answer.length; i += 2) entries.push([String(answer[i]), String(answer[i + 1])]);
  return new Map(entries);
}
