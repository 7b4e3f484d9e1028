import { randomBytes } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { GrpcCheckpointSaver } from "../../clients/checkpoint/index.js";
import { reasonOf, retryAfterMsOf } from "../../runtime/errors.js";
import { silentLogger } from "../../runtime/logger.js";
import { openRedis } from "../../runtime/redis.js";
import { openPostgres } from "../../runtime/sql/postgres.js";
import { MIGRATIONS } from "../../services/checkpoint/sql/schema.js";
import type { CheckpointStore } from "../../services/checkpoint/store.js";
import { openRedisCheckpointStore } from "../../services/checkpoint/store-redis.js";
import { openSqlCheckpointStore } from "../../services/checkpoint/store-sql.js";
import { describePostgres } from "../servers/postgres.js";
import { redisFound, startRedis } from "../servers/redis.js";
import { startRedisCluster } from "../servers/redis-cluster.js";
import { startServiceProcess } from "../servers/service-process.js";
import { at, expectAll, failure, put, putUntilFailure, valueOf } from "./acknowledged.js";
import { serveCheckpoints } from "./checkpoint-server.js";

const DURABLE_REDIS = ["--appendonly", "yes", "--appendfsync", "always"];

async function withSaver(store: CheckpointStore, work: (saver: GrpcCheckpointSaver) => Promise<void>): Promise<void> {
  const server = await serveCheckpoints(store);
  const saver = new GrpcCheckpointSaver({ address: server.address });
  try {
    await work(saver);
  } finally {
    saver.close();
    await server.stop();
    await store.close();
  }
}

describePostgres(
  "PostgreSQL that is killed",
  (server) => {
    test("has what was acknowledged, and comes back to the same service", async () => {
      const store = await openSqlCheckpointStore(openPostgres({ url: server().url, connectTimeoutMs: 500 }));
      await withSaver(store, async (saver) => {
        await put(saver, "warm", 0);
        const writing = putUntilFailure(saver, 4);
        await expect.poll(async () => (await saver.listThreads({ pageSize: 1000 })).threads.length, { timeout: 30_000 }).toBeGreaterThan(20);
        await server().kill();
        const { acknowledged, errors } = await writing;
        expect(errors.map(({ code }) => code)).toEqual(errors.map(() => Code.Unavailable));
        expect(acknowledged.length).toBeGreaterThan(15);
        const away = await failure(put(saver, "away", 1));
        expect([away.code, reasonOf(away)]).toEqual([Code.Unavailable, "DEPENDENCY_UNAVAILABLE"]);
        expect(away.message).not.toContain("127.0.0.1");
        await server().restart();
        await expectAll(saver, acknowledged);
        await put(saver, "after", 2);
      });
    }, 120_000);
  },
  // What the server's administrator preferred must not weaken the promise.
  { own: true, settings: { synchronous_commit: "off", wal_writer_delay: "10s" } },
);

describePostgres("PostgreSQL whose connections are all taken", (server) => {
  test("makes a put wait no longer than it was told, and says when to try again", async () => {
    const db = openPostgres({ url: server().url, maxConnections: 1, connectTimeoutMs: 100 });
    await withSaver(await openSqlCheckpointStore(db), async (saver) => {
      let free = () => {};
      const held = db.transaction(() => new Promise<void>((resolve) => (free = resolve)));
      const error = await failure(put(saver, "t", 1));
      expect([error.code, reasonOf(error)]).toEqual([Code.Unavailable, "DEPENDENCY_UNAVAILABLE"]);
      expect(retryAfterMsOf(error)).toBeGreaterThan(0);
      free();
      await held;
      await put(saver, "t", 2);
      expect(await valueOf(saver, "t")).toBe(2);
    });
  });

  test("serves more writers than it has connections", async () => {
    const store = await openSqlCheckpointStore(openPostgres({ url: server().url, maxConnections: 2 }));
    await withSaver(store, async (saver) => {
      await Promise.all(Array.from({ length: 50 }, (_, i) => put(saver, `many ${i}`, i)));
      expect(await valueOf(saver, "many 49")).toBe(49);
    });
  });

  test("is migrated by several replicas that start at once", async () => {
    const admin = openPostgres({ url: server().url });
    await admin.query("drop schema if exists checkpoint cascade");
    const stores = await Promise.all(
      Array.from({ length: 4 }, () => openSqlCheckpointStore(openPostgres({ url: server().url, maxConnections: 2 }))),
    );
    expect(await admin.query("select version from checkpoint.schema_migrations")).toEqual(MIGRATIONS.map(({ version }) => ({ version })));
    await Promise.all([admin, ...stores].map((one) => one.close()));
  });
});

describe.skipIf(!(await redisFound({ own: true })))("Redis", () => {
  async function withRedis(args: string[], work: (redis: Awaited<ReturnType<typeof startRedis>>, saver: GrpcCheckpointSaver) => Promise<void>) {
    const redis = await startRedis({ args });
    try {
      const client = openRedis(redis.url, { logger: silentLogger, commandTimeoutMs: 500 });
      await withSaver(openRedisCheckpointStore({ client }), (saver) => work(redis, saver));
    } finally {
      await redis.stop();
    }
  }

  test("that is killed has what was acknowledged, and comes back to the same service", async () => {
    await withRedis(DURABLE_REDIS, async (redis, saver) => {
      const writing = putUntilFailure(saver, 4);
      await expect.poll(async () => (await saver.listThreads({ pageSize: 1000 })).threads.length, { timeout: 30_000 }).toBeGreaterThan(20);
      await redis.kill();
      const { acknowledged, errors } = await writing;
      expect(errors.map(({ code }) => code)).toEqual(errors.map(() => Code.Unavailable));
      expect(acknowledged.length).toBeGreaterThan(15);
      await redis.restart();
      await expect.poll(() => put(saver, "after", 2).then(() => "stored", () => "refused"), { timeout: 30_000 }).toBe("stored");
      await expectAll(saver, acknowledged);
    });
  }, 120_000);

  test("Cluster of which a node is killed has what was acknowledged, and takes puts again when that is back", async () => {
    const cluster = await startRedisCluster({ args: DURABLE_REDIS });
    try {
      const client = openRedis(cluster.url, { logger: silentLogger, commandTimeoutMs: 500 });
      await withSaver(openRedisCheckpointStore({ client }), async (saver) => {
        const writing = putUntilFailure(saver, 4);
        await expect.poll(async () => (await saver.listThreads({ pageSize: 1000 })).threads.length, { timeout: 30_000 }).toBeGreaterThan(20);
        await cluster.nodes[0]!.kill();
        const { acknowledged, errors } = await writing;
        // One that waits for the Cluster to be whole again ends with its deadline.
        const told = [Code.Unavailable, Code.DeadlineExceeded];
        expect(errors.filter(({ code }) => !told.includes(code))).toEqual([]);
        expect(acknowledged.length).toBeGreaterThan(15);
        await cluster.nodes[0]!.restart();
        const putEverywhere = () => Promise.all(Array.from({ length: 12 }, (_, i) => put(saver, `after ${i}`, i)));
        await expect.poll(() => putEverywhere().then(() => "stored", () => "refused"), { timeout: 60_000 }).toBe("stored");
        await expectAll(saver, acknowledged);
      });
    } finally {
      await cluster.stop();
    }
  }, 180_000);

  test("that is paused under load makes calls fail in time, has what was acknowledged, and goes on when it does", async () => {
    await withRedis(DURABLE_REDIS, async (redis, saver) => {
      const writing = putUntilFailure(saver, 4);
      await expect.poll(async () => (await saver.listThreads({ pageSize: 1000 })).threads.length, { timeout: 30_000 }).toBeGreaterThan(20);
      await redis.pause();
      const { acknowledged, errors } = await writing;
      expect(errors.map(({ code }) => code)).toEqual(errors.map(() => Code.Unavailable));
      expect((await failure(saver.getTuple(at("0-0")))).code).toBe(Code.Unavailable);
      await redis.resume();
      await expect.poll(() => put(saver, "after", 3).then(() => "stored", () => "refused"), { timeout: 30_000 }).toBe("stored");
      expect(await valueOf(saver, "after")).toBe(3);
      await expectAll(saver, acknowledged);
    });
  }, 120_000);

  test("that is full refuses puts, keeps what it has, and takes puts again after threads were deleted", async () => {
    await withRedis([...DURABLE_REDIS, "--maxmemory", "20mb", "--maxmemory-policy", "noeviction"], async (_redis, saver) => {
      let error: ConnectError | undefined;
      const stored: number[] = [];
      for (let i = 0; i < 40 && error === undefined; i += 1) {
        await put(saver, `t${i}`, Array.from({ length: 64 }, () => randomBytes(16_384))).then(
          () => stored.push(i),
          (thrown: unknown) => (error = ConnectError.from(thrown)),
        );
      }
      expect([error?.code, reasonOf(error)]).toEqual([Code.ResourceExhausted, "CHECKPOINT_STORE_FULL"]);
      expect(stored.length).toBeGreaterThan(2);
      for (const i of stored) expect(await valueOf(saver, `t${i}`)).toHaveLength(64);
      for (const i of stored.slice(0, 3)) await saver.deleteThread(`t${i}`);
      await put(saver, "again", 1);
      expect(await valueOf(saver, "again")).toBe(1);
    });
  }, 120_000);

  test("that would lose acknowledged checkpoints is refused with what to change, unless that is accepted", async () => {
    const redis = await startRedis({ own: true });
    const env = { RAGENTS_CHECKPOINT_URL: redis.url };
    await expect(startServiceProcess("checkpoint", env)).rejects.toThrow("--appendonly yes --appendfsync always");
    const service = await startServiceProcess("checkpoint", { ...env, RAGENTS_CHECKPOINT_REDIS_DURABLE: "false" });
    await service.stop();
    await redis.stop();
    const evicting = await startRedis({ args: [...DURABLE_REDIS, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"] });
    await expect(startServiceProcess("checkpoint", { RAGENTS_CHECKPOINT_URL: evicting.url })).rejects.toThrow("noeviction");
    await evicting.stop();
  }, 120_000);
});
