import { Worker } from "node:worker_threads";
import { afterEach, expect, test } from "vitest";
import { ThreadEndedError, ThreadPool, type ThreadPoolOptions } from "./thread-pool.js";

const program = `
  const { parentPort, threadId } = require("node:worker_threads");
  parentPort.on("message", ({ kind, value, finished }) => {
    if (kind === "answer") parentPort.postMessage({ value: { value, threadId } });
    if (kind === "fail") parentPort.postMessage({ error: new RangeError(value) });
    if (kind === "throw") throw new Error(value);
    if (kind === "slow") setTimeout(() => { if (finished) finished[0] = 1; parentPort.postMessage({ value: { value, threadId } }); }, 20);
    if (kind === "exit") process.exit(3);
    if (kind === "fill") for (const all = []; ; ) all.push(new Array(100_000).fill(Math.random()));
  });`;

interface Request {
  kind: "answer" | "fail" | "throw" | "exit" | "fill" | "hang" | "slow";
  value?: string;
  finished?: Int32Array;
}

const pools: ThreadPool<Request, { value: string; threadId: number }>[] = [];
function pool(size: number, options?: ThreadPoolOptions) {
  const made = new ThreadPool<Request, { value: string; threadId: number }>(
    () => new Worker(program, { eval: true, resourceLimits: { maxOldGenerationSizeMb: 16 } }),
    size,
    options,
  );
  pools.push(made);
  return made;
}

afterEach(() => Promise.all(pools.splice(0).map((one) => one.close())));

test("answers many requests from no more threads than it may have", async () => {
  const threads = pool(2);
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => threads.run({ kind: "answer", value: `${i}` })));
  expect(answers.map(({ value }) => value)).toEqual(Array.from({ length: 20 }, (_, i) => `${i}`));
  expect(new Set(answers.map(({ threadId }) => threadId)).size).toBeLessThanOrEqual(2);
});

test("rejects with what the thread threw, and goes on with the same thread", async () => {
  const threads = pool(1);
  const before = await threads.run({ kind: "answer", value: "a" });
  await expect(threads.run({ kind: "fail", value: "too far" })).rejects.toThrow(new RangeError("too far"));
  expect(await threads.run({ kind: "answer", value: "b" })).toEqual({ value: "b", threadId: before.threadId });
});

test.each(["throw", "exit", "fill"] as const)("goes on in another thread after one ended by '%s'", async (kind) => {
  const threads = pool(1);
  const ended = threads.run({ kind, value: "broken" });
  const next = threads.run({ kind: "answer", value: "b" });
  const error = await ended.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ThreadEndedError);
  expect((error as ThreadEndedError).outOfMemory).toBe(kind === "fill");
  expect(await next).toMatchObject({ value: "b" });
});

test("ends a thread whose answer nobody waits for any more, and begins nothing that was given up", async () => {
  const threads = pool(1);
  const controller = new AbortController();
  const hanging = threads.run({ kind: "hang" }, controller.signal);
  const waiting = threads.run({ kind: "hang" }, controller.signal);
  const next = threads.run({ kind: "answer", value: "b" });
  controller.abort(new Error("cancelled"));
  await expect(hanging).rejects.toThrow("cancelled");
  await expect(waiting).rejects.toThrow("cancelled");
  expect(await next).toMatchObject({ value: "b" });
});

test("ends a thread between requests where that is asked for", async () => {
  const threads = pool(1, { endsBetweenRequests: true });
  const before = await threads.run({ kind: "answer", value: "a" });
  const controller = new AbortController();
  const given = threads.run({ kind: "slow", value: "nobody waits" }, controller.signal);
  controller.abort(new Error("cancelled"));
  await expect(given).rejects.toThrow("cancelled");
  // The answer that nobody waits for is not taken for the next one's, and the thread goes on.
  expect(await threads.run({ kind: "answer", value: "b" })).toEqual({ value: "b", threadId: before.threadId });
  const finished = new Int32Array(new SharedArrayBuffer(4));
  const last = threads.run({ kind: "slow", value: "last", finished });
  const closed = threads.close();
  await expect(last).rejects.toThrow("stopped");
  await closed;
  expect(finished[0]).toBe(1);
});

test("rejects what is under way when it is closed", async () => {
  const threads = pool(1);
  const under = Promise.allSettled([threads.run({ kind: "hang" }), threads.run({ kind: "answer" })]);
  await threads.close();
  expect((await under).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  await expect(threads.run({ kind: "answer" })).rejects.toThrow("stopped");
});
