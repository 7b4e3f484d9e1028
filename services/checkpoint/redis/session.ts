import { ConnectError } from "@connectrpc/connect";
import type { RedisClient } from "../../../runtime/redis.js";
import { storeFull, storeUnavailable } from "../errors.js";
import { type Script, SCRIPTS } from "./scripts.js";

export type RedisArgument = string | number | Buffer;

/** What the parts of the store work with. */
export interface RedisStoreContext {
  readonly client: RedisClient;
  /** Runs a script; strings in its answer are Buffers. */
  readonly script: <R>(script: Script, keys: readonly string[], args: readonly RedisArgument[]) => Promise<R>;
  /** When a thread that is used now expires (ms since the epoch, '' for never), and in how many ms. */
  readonly expiry: (now: Date) => readonly [at: number | "", ttlMs: number | ""];
}

export function redisContext(client: RedisClient, ttlMs: number | undefined): RedisStoreContext {
  for (const { name, keys, lua } of SCRIPTS) client.defineCommand(name, { numberOfKeys: keys, lua });
  const commands = client as unknown as Record<string, (...args: RedisArgument[]) => Promise<unknown>>;
  return {
    client,
    script: async <R>({ name }: Script, keys: readonly string[], args: readonly RedisArgument[]) =>
      (await guarded(() => commands[`${name}Buffer`]?.(...keys, ...args))) as R,
    expiry: (now) => (ttlMs === undefined ? ["", ""] : [now.getTime() + ttlMs, ttlMs]),
  };
}

/** Runs a command; rejects with UNAVAILABLE when Redis cannot be reached, and with RESOURCE_EXHAUSTED when it is full. */
export async function guarded<T>(command: () => Promise<T> | undefined): Promise<T> {
  try {
    return (await command()) as T;
  } catch (error) {
    throw fromRedis(error);
  }
}

function fromRedis(error: unknown): unknown {
  if (error instanceof ConnectError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (message.startsWith("OOM")) return storeFull(error);
  // Redis' own errors are ReplyErrors: those that a healthy one can answer are ours, the rest say that it is not healthy.
  const ours = (error as Error).name === "ReplyError" && !/^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MISCONF|NOREPLICAS|BUSY) /.test(message);
  return ours || error instanceof TypeError ? error : storeUnavailable(error);
}
