import { crc32 } from "node:zlib";
import { coalesce } from "../../runtime/coalesce.js";
import type { RedisClient } from "../../runtime/redis.js";
import type { BucketOp, BucketOutcome, BucketVerdict } from "./bucket.js";
import { bucketScript, REDIS_TIME } from "./bucket-script.js";
import type { Limit } from "./limit.js";
import { type BucketStore, StoreUnavailableError } from "./store.js";

export interface RedisStoreOptions {
  client: RedisClient;
  /** Lua that sets `now`. Default: Redis' own clock. */
  timeSource?: string;
  /** Told the number of operations of each script. */
  onBatch?: (size: number) => void;
}

const VERDICTS: readonly BucketVerdict[] = ["refused", "allowed", "waiting", "crowded"];
const PREFIX = "ragents:ratelimit:";

/** A script reaches keys of one slot only: in a cluster the buckets have so many. */
const CLUSTER_PARTITIONS = 64;

/** Operations of one script: it holds Redis up for less than a millisecond. */
const MAX_BATCH = 64;

type DecideCommand = (keyCount: number, ...keysAndArgs: (string | Buffer)[]) => Promise<Buffer[]>;

interface Operation {
  key: string;
  limit: Limit;
  op: BucketOp;
}

/**
 * Buckets in Redis or a Redis Cluster: one string a key, decided by one script, so that all replicas see one order of decisions.
 */
export function openRedisStore({ client, timeSource = REDIS_TIME, onBatch }: RedisStoreOptions): BucketStore {
  client.defineCommand("ragentsDecide", { lua: bucketScript(timeSource) });
  const command = (client as unknown as { ragentsDecideBuffer: DecideCommand }).ragentsDecideBuffer.bind(client);
  const packed = new WeakMap<Limit, Buffer>();

  function windowsOf(limit: Limit): Buffer {
    let bytes = packed.get(limit);
    if (bytes === undefined) {
      bytes = doubles(limit.windows.flatMap((window) => [window.periodMs, window.limit, window.capacity]));
      packed.set(limit, bytes);
    }
    return bytes;
  }

  const partitions = Array.from({ length: client.isCluster ? CLUSTER_PARTITIONS : 1 }, (_, i) => {
    const prefix = `${PREFIX}{${i}}:`;
    const send = (operations: Operation[]) => {
      const keys = operations.map(({ key }) => prefix + key);
      const args = operations.flatMap(({ op, limit }) => [op.kind, limit.onFailure, windowsOf(limit), argsOf(op)]);
      return fromRedis(command(1 + keys.length, `${prefix}process`, ...keys, ...args));
    };
    return coalesce(send, { maxBatch: MAX_BATCH, onBatch });
  });

  return {
    async decide(key, limit, op) {
      const partition = partitions.length === 1 ? 0 : crc32(key) % partitions.length;
      return read(await partitions[partition]!({ key, limit, op }));
    },
    async ping() {
      await client.ping();
    },
    close: () => Promise.resolve(),
  };
}

/** What Redis answers. Redis away, silent, full, loading or read-only is StoreUnavailableError; an error inside a script is ours. */
export async function fromRedis<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    if (/user_script/.test(message) && !/^OOM/.test(message)) throw cause;
    throw new StoreUnavailableError(message, { cause });
  }
}

function argsOf(op: BucketOp): Buffer {
  switch (op.kind) {
    case "take":
    case "peek":
    case "refund":
      return doubles([op.cost]);
    case "wait":
      return Buffer.concat([id(op.ticket), doubles([op.priority, op.cost, op.maxWaitMs])]);
    case "leave":
      return id(op.ticket);
    case "lease":
      return Buffer.concat([id(op.holder), doubles([op.sequence, op.cost, op.want, op.carry, op.returned])]);
  }
}

function read(answer: Buffer): BucketOutcome {
  const numbers = Array.from({ length: answer.length / 8 }, (_, i) => answer.readDoubleLE(i * 8));
  const [verdict, waitMs, granted, ...levels] = numbers as [number, number, number, ...number[]];
  return { verdict: VERDICTS[verdict]!, waitMs, granted, levels };
}

function doubles(numbers: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(numbers.length * 8);
  numbers.forEach((number, i) => bytes.writeDoubleLE(number, i * 8));
  return bytes;
}

/** Tickets and holders are named by 8 bytes. */
function id(name: string): Buffer {
  const bytes = Buffer.from(name, "latin1");
  if (bytes.length !== 8) throw new Error(`"${name}" is not 8 bytes`);
  return bytes;
}
