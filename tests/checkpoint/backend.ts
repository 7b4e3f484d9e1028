import { Cluster } from "ioredis";
import { silentLogger } from "../../runtime/logger.js";
import { openRedis } from "../../runtime/redis.js";
import type { SqlDatabase } from "../../runtime/sql/database.js";
import type { CheckpointStore } from "../../services/checkpoint/store.js";
import { openRedisCheckpointStore } from "../../services/checkpoint/store-redis.js";
import { clearRedis } from "../../services/checkpoint/store-redis.suite.js";
import { openSqlCheckpointStore } from "../../services/checkpoint/store-sql.js";
import { clearSqlStore } from "../../services/checkpoint/store-sql.suite.js";

/** A store and what a test does to it behind its back. */
export interface Backend {
  readonly store: CheckpointStore;
  clear(): Promise<void>;
  /** Changes a byte of every stored segment. */
  damageContents(): Promise<void>;
  /** Cuts the stored bytes of one checkpoint of the root namespace short. */
  damageCheckpoint(threadId: string, checkpointId: string): Promise<void>;
}

/** On PGlite or PostgreSQL. */
export async function sqlBackend(db: SqlDatabase): Promise<Backend> {
  return {
    store: await openSqlCheckpointStore(db),
    clear: () => clearSqlStore(db),
    async damageContents() {
      await db.query("update checkpoint.contents set data = set_byte(data, octet_length(data) - 1, 255 - get_byte(data, octet_length(data) - 1))");
    },
    async damageCheckpoint(threadId, checkpointId) {
      await db.query(
        "update checkpoint.langgraph_checkpoints set checkpoint_data = substring(checkpoint_data from 1 for 5) where thread_id = $1 and checkpoint_id = $2",
        [threadId, checkpointId],
      );
    },
  };
}

/** On one Redis or a Cluster. */
export function redisBackend(url: string): Backend {
  const client = openRedis(url, { logger: silentLogger });
  const keysOf = async (pattern: string) => {
    const masters = client instanceof Cluster ? client.nodes("master") : [client];
    return (await Promise.all(masters.map((node) => node.keys(pattern)))).flat();
  };
  return {
    store: openRedisCheckpointStore({ client }),
    clear: () => clearRedis(client),
    async damageContents() {
      for (const key of await keysOf("*:contents")) {
        for (const hash of await client.hkeysBuffer(key)) {
          const data = (await client.hgetBuffer(key, hash)) as Buffer;
          data[data.length - 1] = 255 - (data[data.length - 1] as number);
          await client.hset(key, hash, data);
        }
      }
    },
    async damageCheckpoint(threadId, checkpointId) {
      for (const key of await keysOf(`*:${threadId}}:langgraph_checkpoints`)) {
        const record = (await client.hgetBuffer(key, `\0${checkpointId}`)) as Buffer;
        await client.hset(key, `\0${checkpointId}`, record.subarray(0, 20));
      }
    },
  };
}
