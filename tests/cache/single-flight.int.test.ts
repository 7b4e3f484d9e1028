import { type ChildProcess, spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createClient } from "@connectrpc/connect";
import { CacheService } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { redisFound, type RedisServer, startRedis } from "../servers/redis.js";
import { type ServiceProcess, startServiceProcess } from "../servers/service-process.js";

const WORKER = join(dirname(fileURLToPath(import.meta.url)), "fill-worker.ts");
const POLL = { timeout: 30_000 };

/** A worker process and what it said. */
interface Worker {
  readonly lines: string[];
  go(): void;
  kill(): void;
}

async function startWorker(address: string, callers: number, computing: "ends" | "hangs"): Promise<Worker> {
  const child: ChildProcess = spawn(process.execPath, ["--import", "tsx", WORKER, address, String(callers), computing], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines: string[] = [];
  createInterface({ input: child.stdout! }).on("line", (line) => lines.push(line));
  await expect.poll(() => lines, POLL).toEqual(["ready"]);
  return { lines, go: () => void child.stdin!.write("go\n"), kill: () => void child.kill("SIGKILL") };
}

const computations = (workers: Worker[]) => workers.flatMap(({ lines }) => lines).filter((line) => line === "computing").length;
const results = (workers: Worker[]) =>
  workers
    .flatMap(({ lines }) => lines)
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as { values: string[]; computed: number });

describe.skipIf(!(await redisFound({ own: true })))("a value that many processes miss at the same time", () => {
  let redis: RedisServer;
  let replicas: ServiceProcess[];

  beforeAll(async () => {
    redis = await startRedis({ own: true });
    const env = { RAGENTS_CACHE_URL: redis.url, RAGENTS_CACHE_LEASE_MS: "2000" };
    replicas = await Promise.all([startServiceProcess("cache", env), startServiceProcess("cache", env)]);
  }, 120_000);
  afterAll(async () => {
    await Promise.all(replicas.map((replica) => replica.stop()));
    await redis.stop();
  });

  test("is computed once for 200 callers in 4 processes over 2 replicas", async () => {
    const addresses = [replicas[0]!.address, replicas[1]!.address];
    const workers = await Promise.all([0, 1, 2, 3].map((i) => startWorker(addresses[i % 2]!, 50, "ends")));
    for (const worker of workers) worker.go();
    await expect.poll(() => results(workers), POLL).toHaveLength(4);
    expect(computations(workers)).toBe(1);
    const values = results(workers).flatMap((result) => result.values);
    expect(values).toHaveLength(200);
    expect(new Set(values).size).toBe(1);
    expect(results(workers).reduce((sum, { computed }) => sum + computed, 0)).toBe(1);

    const transport = createGrpcTransport({ address: addresses[0]!, services: [CacheService] });
    onTestFinished(() => transport.close());
    const client = createClient(CacheService, transport);
    // Every caller is one request, also those that their own process answered.
    const stats = async () => {
      const { hits, misses, requests } = await client.getStats({});
      return { hits, misses, requests };
    };
    await expect.poll(stats, POLL).toEqual({ hits: 199n, misses: 1n, requests: 200n });
    await client.clear({});
  }, 120_000);

  test("is computed by another process when the one that computes it is killed", async () => {
    const dead = await startWorker(replicas[0]!.address, 10, "hangs");
    dead.go();
    await expect.poll(() => computations([dead]), POLL).toBe(1);
    const heirs = await Promise.all([0, 1].map((i) => startWorker(replicas[i]!.address, 10, "ends")));
    for (const heir of heirs) heir.go();
    dead.kill();
    await expect.poll(() => results(heirs), POLL).toHaveLength(2);
    expect(computations(heirs)).toBe(1);
  }, 120_000);
});
