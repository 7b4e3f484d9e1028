import { fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import { Cluster, type Redis } from "ioredis";
import { CacheScopeSchema, CacheSelectorSchema } from "../../../gen/ragents/cache/v1/cache_pb.js";
import type { Clock } from "../../../runtime/clock.js";
import type { Logger } from "../../../runtime/logger.js";
import type { RedisClient } from "../../../runtime/redis.js";
import { ChangeFeed } from "../changes.js";
import { entryScope } from "../entry-scope.js";
import type { CacheChange, ChangeListener } from "../store.js";
import type { CacheScripts } from "./scripts.js";

const CHANNEL = "rc:changes";
/** Changes are published at, and listened for on, the node that owns this key: no hop between nodes can lose one. */
const HOME_KEY = "rc:{0}:tenants";
const RETRY_MS = 100;
/** How often a silent connection is asked whether it is alive. */
const PING_MS = 2_000;
/** How long a watch waits for the connection. */
const WATCH_PATIENCE_MS = 1_000;

export interface ChangeChannelOptions {
  client: RedisClient & CacheScripts;
  logger: Logger;
  clock: Clock;
}

/** Carries changes from each replica to the watchers of all. */
export class ChangeChannel {
  readonly #options: ChangeChannelOptions;
  readonly #feed = new ChangeFeed();
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #live = false;
  #onLive: (() => void)[] = [];

  constructor(options: ChangeChannelOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Tells every change from the moment this resolves. Rejects when Redis cannot be reached. */
  async watch(tenant: string, listener: ChangeListener): Promise<() => void> {
    const { clock } = this.#options;
    if (!this.#live) {
      await Promise.race([new Promise<void>((resolve) => this.#onLive.push(resolve)), clock.sleep(WATCH_PATIENCE_MS)]);
    }
    if (!this.#live) throw new Error("not subscribed to Redis");
    return this.#feed.add(tenant, listener);
  }

  /** Resolves when Redis has the change; watchers everywhere are told within the time of a message. */
  async publish(tenant: string, change: CacheChange): Promise<void> {
    await this.#options.client.cachePublish(1, HOME_KEY, CHANNEL, JSON.stringify([tenant, toMessage(change)]));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const { clock, logger } = this.#options;
    while (!signal.aborted) {
      const connection = await this.#connect().catch((err: unknown) => {
        logger.debug("cache_subscribe_failed", { err });
        return undefined;
      });
      if (connection !== undefined) {
        await this.#listen(connection);
        connection.disconnect();
      }
      this.#live = false;
      this.#feed.lose();
      await clock.sleep(RETRY_MS, signal).catch(() => {});
    }
  }

  async #connect(): Promise<Redis> {
    const connection = (await this.#homeNode()).duplicate({
      lazyConnect: true,
      // After a break messages may have been missed: a new connection starts anew, and says so.
      retryStrategy: () => null,
      autoResubscribe: false,
      enableOfflineQueue: false,
    });
    connection.on("error", () => {});
    try {
      await connection.connect();
      connection.on("message", (_channel, text) => this.#receive(text));
      await connection.subscribe(CHANNEL);
      return connection;
    } catch (error) {
      connection.disconnect();
      throw error;
    }
  }

  /** Resolves when the connection has ended or does not answer any more. */
  async #listen(connection: Redis): Promise<void> {
    const { clock } = this.#options;
    const ended = new AbortController();
    connection.once("close", () => ended.abort());
    if (connection.status !== "ready") return;
    this.#live = true;
    for (const resolve of this.#onLive.splice(0)) resolve();
    const over = AbortSignal.any([this.#closing.signal, ended.signal]);
    while (!over.aborted) {
      await clock.sleep(PING_MS, over).catch(() => {});
      if (!over.aborted) await connection.ping().catch(() => ended.abort());
    }
  }

  #receive(text: string): void {
    try {
      const [tenant, message] = JSON.parse(text) as [string, JsonValue];
      this.#feed.tell(tenant, fromMessage(tenant, message));
    } catch (err) {
      // A change that cannot be understood is one that was missed.
      this.#options.logger.warn("cache_change_unreadable", { err });
      this.#feed.lose();
    }
  }

  async #homeNode(): Promise<Redis> {
    const { client } = this.#options;
    if (!((client as RedisClient) instanceof Cluster)) return client as Redis;
    const cluster = client as Cluster;
    const slot = (await cluster.cluster("KEYSLOT", HOME_KEY)) as number;
    const owner = cluster.slots[slot]?.[0];
    const node = cluster.nodes("master").find(({ options }) => `${options.host}:${options.port}` === owner);
    if (node === undefined) throw new Error("the cluster has no owner for the channel's slot");
    return node;
  }
}

function toMessage(change: CacheChange): JsonValue {
  if (change.kind === "removed") return { removed: toJson(CacheSelectorSchema, change.selector) };
  const { scope, hashes } = change;
  return {
    replaced: {
      kind: scope.kind,
      scope: toJson(CacheScopeSchema, scope.parts),
      hashes: hashes.map((hash) => Buffer.from(hash).toString("base64url")),
    },
  };
}

function fromMessage(tenant: string, message: JsonValue): CacheChange {
  const { removed, replaced } = message as {
    removed?: JsonValue;
    replaced?: { kind: number; scope: JsonValue; hashes: string[] };
  };
  if (removed !== undefined) return { kind: "removed", selector: fromJson(CacheSelectorSchema, removed) };
  if (replaced === undefined) throw new Error("neither removed nor replaced");
  return {
    kind: "replaced",
    scope: entryScope(tenant, replaced.kind, fromJson(CacheScopeSchema, replaced.scope)),
    hashes: replaced.hashes.map((hash) => Buffer.from(hash, "base64url")),
  };
}
