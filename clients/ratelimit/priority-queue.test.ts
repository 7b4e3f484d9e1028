import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, createClient } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { BadRequestSchema } from "../../gen/google/rpc/error_details_pb.js";
import { QueueService } from "../../gen/ragents/ratelimit/v1/queue_service_pb.js";
import { currentTenant } from "../../runtime/call-context.js";
import { systemClock } from "../../runtime/clock.js";
import { reasonOf, retryAfterMsOf } from "../../runtime/errors.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import { startRateLimitService } from "../../services/ratelimit/service.js";
import { failureOf } from "../../tests/failure-of.js";
import { PriorityQueue, type WorkHandler, type WorkOptions } from "./index.js";

async function start(limits = "") {
  const folder = await mkdtemp(join(tmpdir(), "ragents-queue-"));
  const path = join(folder, "limits.yaml");
  await writeFile(path, limits);
  const metrics = createMetrics();
  const service = await startRateLimitService(
    { RAGENTS_RATELIMIT_PORT: "0", RAGENTS_RATELIMIT_CONFIG: path },
    { logger: silentLogger, metrics, clock: systemClock },
  );
  const queue = new PriorityQueue({ address: service.address });
  onTestFinished(async () => {
    queue.close();
    await service.stop(1_000);
    await rm(folder, { recursive: true });
  });
  return { service, queue, metrics };
}

/** A worker that ends with the test. */
function work(queue: PriorityQueue, handler: WorkHandler, options: Omit<WorkOptions, "signal"> = {}) {
  const controller = new AbortController();
  const done = queue.work(handler, { ...options, signal: controller.signal });
  const stop = async () => {
    controller.abort();
    await done;
  };
  onTestFinished(stop);
  return { stop, done };
}

const text = (payload: Uint8Array) => Buffer.from(payload).toString();

describe("a priority queue", () => {
  test("gives work to a worker in the order of its importance, for the tenant that asked for it", async () => {
    const { queue } = await start();
    await queue.enqueue("low", { priority: "LOW" });
    await queue.enqueue("normal");
    await queue.enqueue("critical", { priority: "CRITICAL" });
    const done: string[] = [];
    work(queue, async ({ payload, priority, attempt, enqueuedAt, tenant }) => {
      expect([attempt, tenant, currentTenant()]).toEqual([1, "local", "local"]);
      expect(Math.abs(enqueuedAt - Date.now())).toBeLessThan(60_000);
      done.push(`${text(payload)} ${priority}`);
    });
    await expect.poll(() => done).toEqual(["critical CRITICAL", "normal NORMAL", "low LOW"]);
    await expect.poll(async () => (await queue.stats()).acknowledged).toBe(3);
  });

  test("gives work as it comes, and no more at once than a worker wants", async () => {
    const { queue } = await start();
    let running = 0;
    let most = 0;
    let done = 0;
    const gates: (() => void)[] = [];
    work(
      queue,
      async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise<void>((resolve) => gates.push(resolve));
        running -= 1;
        done += 1;
      },
      { concurrency: 3 },
    );
    for (let i = 0; i < 10; i += 1) await queue.enqueue(`${i}`);
    await expect.poll(() => running).toBe(3);
    expect((await queue.stats()).inFlight).toBe(3);
    await expect
      .poll(() => {
        gates.shift()?.();
        return done;
      }, { timeout: 10_000 })
      .toBe(10);
    expect(most).toBe(3);
  });

  test("gives work again that failed", async () => {
    const { queue } = await start();
    const attempts: number[] = [];
    work(
      queue,
      async ({ attempt }) => {
        attempts.push(attempt);
        if (attempt < 3) throw new Error("not this time");
      },
      { retryDelayMs: 1 },
    );
    await queue.enqueue("work");
    await expect.poll(() => attempts).toEqual([1, 2, 3]);
    await expect.poll(async () => (await queue.stats()).acknowledged).toBe(1);
  });

  test("holds long work for its worker, and tells it when the work is cancelled", async () => {
    const { queue, metrics } = await start();
    const attempts: number[] = [];
    let aborted = false;
    work(
      queue,
      async ({ attempt }, signal) => {
        attempts.push(attempt);
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
        aborted = true;
      },
      { leaseMs: 1_000 },
    );
    const item = await queue.enqueue("long");
    await expect.poll(() => attempts.length).toBe(1);
    // Its lease is extended when a third of it has passed: after four times it would have ended.
    const extended = () => metrics.registry.metrics();
    await expect.poll(extended, { timeout: 10_000 }).toMatch(/grpc_method="Extend",grpc_code="OK"\} [4-9]/);
    expect(await queue.cancel(item)).toBe(true);
    await expect.poll(() => aborted).toBe(true);
    expect(attempts).toEqual([1]);
    const error = await failureOf(queue.cancel(item));
    expect([error.code, reasonOf(error)]).toEqual([Code.NotFound, "ITEM_NOT_FOUND"]);
  });

  test("lets a worker finish when it stops, and gives the rest to others", async () => {
    const { queue } = await start();
    const finished: string[] = [];
    let release: (() => void) | undefined;
    const first = work(queue, async ({ payload }) => {
      await new Promise<void>((resolve) => (release = resolve));
      finished.push(`first ${text(payload)}`);
    });
    await queue.enqueue("a");
    await queue.enqueue("b");
    await expect.poll(() => release).toBeDefined();
    const stopped = first.stop();
    work(queue, async ({ payload }) => void finished.push(`second ${text(payload)}`));
    await expect.poll(() => finished).toEqual(["second b"]);
    release?.();
    await stopped;
    expect(finished).toEqual(["second b", "first a"]);
  });

  test("refuses what is beyond its bounds", async () => {
    const { queue } = await start("queues: { default: { max_depth: 3, max_depth_per_tenant: 2 } }");
    await queue.enqueue("1");
    await queue.enqueue("2");
    const error = await failureOf(queue.enqueue("3"));
    expect([error.code, reasonOf(error)]).toEqual([Code.ResourceExhausted, "QUEUE_FULL"]);
    expect(error.rawMessage).toContain("2");
    expect(retryAfterMsOf(error)).toBeGreaterThan(0);
  });

  test("answers a repeated enqueue with the first one's item", async () => {
    const { queue } = await start();
    const first = await queue.enqueue("a", { idempotencyKey: "key" });
    expect(await queue.enqueue("a", { idempotencyKey: "key" })).toBe(first);
    expect((await queue.stats()).waiting.NORMAL.depth).toBe(1);
  });

  test("shows depth and age of every queue as metrics", async () => {
    const { queue, metrics } = await start("queues: { batch: {} }");
    await queue.enqueue("a", { priority: "HIGH" });
    const page = await metrics.registry.metrics();
    expect(page).toContain('ratelimit_queue_depth{queue="default",priority="high"} 1');
    expect(page).toContain('ratelimit_queue_depth{queue="batch",priority="high"} 0');
    expect(page).toMatch(/ratelimit_queue_oldest_age_seconds\{queue="default",priority="high"\} \d/);
    expect(page).toContain('ratelimit_queue_in_flight{queue="default"} 0');
  });

  test("sends streams away when the service stops", async () => {
    const { service } = await start();
    const transport = createGrpcTransport({ address: service.address, services: [QueueService] });
    onTestFinished(() => transport.close());
    const client = createClient(QueueService, transport);
    const received: string[] = [];
    const read = async () => {
      for await (const { item } of client.dequeue({ queue: "default", maxInFlight: 10 })) received.push(item!.item);
    };
    const ended = failureOf(read());
    await client.enqueue({ queue: "default" });
    await expect.poll(() => received).toHaveLength(1);
    await service.stop(5_000);
    const error = await ended;
    expect([error.code, reasonOf(error)]).toEqual([Code.Unavailable, "SHUTTING_DOWN"]);
  });

  test.each([
    { request: { queue: "unheard-of" }, reason: "UNKNOWN_QUEUE", field: "queue" },
    { request: { queue: "UPPER" }, reason: "INVALID_FIELD", field: "queue" },
    { request: { queue: "default", payload: new Uint8Array(65_537) }, reason: "INVALID_FIELD", field: "payload" },
    { request: { queue: "default", priority: 9 }, reason: "INVALID_FIELD", field: "priority" },
    { request: { queue: "default", ttl: { seconds: 0n } }, reason: "INVALID_FIELD", field: "ttl" },
  ])("refuses with $reason, naming $field", async ({ request, reason, field }) => {
    const { service } = await start();
    const transport = createGrpcTransport({ address: service.address, services: [QueueService] });
    onTestFinished(() => transport.close());
    const error = await failureOf(createClient(QueueService, transport).enqueue(request));
    expect([error.code, reasonOf(error)]).toEqual([Code.InvalidArgument, reason]);
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe(field);
  });

  test("fails a worker whose queue there is not", async () => {
    const { service } = await start();
    const queue = new PriorityQueue({ address: service.address, queue: "unheard-of" });
    onTestFinished(() => queue.close());
    const error = await failureOf(queue.work(async () => {}, { signal: new AbortController().signal }));
    expect(reasonOf(error)).toBe("UNKNOWN_QUEUE");
    expect(error.rawMessage).toContain("default");
  });
});
