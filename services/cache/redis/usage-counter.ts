import type { CacheKind } from "../../../gen/ragents/cache/v1/cache_pb.js";
import type { Logger } from "../../../runtime/logger.js";
import type { RedisClient } from "../../../runtime/redis.js";
import type { UsageCounts } from "../store.js";
import type { ShardKeys } from "./keys.js";

/** Counts are written together after this time: what a killed replica loses at most. */
const FLUSH_MS = 50;

const NAMES = ["hits", "misses", "localHits", "similarHits"] as const;

/** Adds this replica's counts to those that all replicas share. */
export class UsageCounter {
  readonly #client: RedisClient;
  readonly #keys: ShardKeys;
  readonly #logger: Logger;
  #pending = new Map<string, Map<string, number>>();
  #timer: NodeJS.Timeout | undefined;

  /** @param keys of the shard that holds the counts. */
  constructor(client: RedisClient, keys: ShardKeys, logger: Logger) {
    this.#client = client;
    this.#keys = keys;
    this.#logger = logger;
  }

  add(tenant: string, kind: CacheKind, counts: Partial<UsageCounts>): void {
    let fields = this.#pending.get(tenant);
    for (const name of NAMES) {
      const count = counts[name] ?? 0;
      if (count === 0) continue;
      if (fields === undefined) this.#pending.set(tenant, (fields = new Map()));
      const field = `${kind}:${name}`;
      fields.set(field, (fields.get(field) ?? 0) + count);
    }
    if (this.#pending.size > 0) this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS);
  }

  /** Writes what was counted; what Redis did not take is written with the next flush. Never rejects. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const writing = this.#pending;
    this.#pending = new Map();
    await Promise.all([...writing].map(([tenant, fields]) => this.#write(tenant, fields)));
  }

  async #write(tenant: string, fields: Map<string, number>): Promise<void> {
    const key = this.#keys.counters(tenant);
    const pipeline = this.#client.pipeline();
    for (const [field, count] of fields) pipeline.hincrby(key, field, count);
    const results = await pipeline.exec().catch((err: unknown) => {
      this.#logger.debug("cache_counts_delayed", { err });
      return undefined;
    });
    for (const [i, [field, count]] of [...fields].entries()) {
      if (results?.[i] !== undefined && results[i][0] === null) continue;
      const [kind, name] = field.split(":") as [string, keyof UsageCounts];
      this.add(tenant, Number(kind) as CacheKind, { [name]: count });
    }
  }
}
