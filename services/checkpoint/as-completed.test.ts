import { expect, test } from "vitest";
import { Channel } from "../../runtime/channel.js";
import { asCompleted } from "./as-completed.js";

/** Work that ends when it is told to, and what has begun and come of it. */
function controlled(limit: number) {
  const source = new Channel<string>();
  const stop = new AbortController();
  const begun = new Map<string, { resolve(result: string): void; reject(error: Error): void }>();
  const results: string[] = [];
  const work = (item: string) => new Promise<string>((resolve, reject) => begun.set(item, { resolve, reject }));
  const ended = (async () => {
    for await (const result of asCompleted(source, { limit, stop: stop.signal }, work)) results.push(result);
  })();
  return { source, stop, begun, results, ended };
}

test("gives results as they come, of so many at once", async () => {
  const { source, begun, results, ended } = controlled(2);
  for (const item of ["a", "b", "c"]) source.push(item);
  source.close();
  await expect.poll(() => [...begun.keys()]).toEqual(["a", "b"]);
  begun.get("b")?.resolve("B");
  await expect.poll(() => begun.has("c")).toBe(true);
  begun.get("c")?.resolve("C");
  begun.get("a")?.resolve("A");
  await ended;
  expect(results).toEqual(["B", "C", "A"]);
});

test("told to stop it ends what was begun, and begins no more", async () => {
  const { source, stop, begun, results, ended } = controlled(1);
  source.push("a");
  source.push("b");
  await expect.poll(() => begun.has("a")).toBe(true);
  stop.abort();
  begun.get("a")?.resolve("A");
  await ended;
  expect([results, begun.has("b")]).toEqual([["A"], false]);
});

test("throws what the work throws, after the results before it", async () => {
  const { source, begun, results, ended } = controlled(2);
  source.push("a");
  source.push("b");
  await expect.poll(() => begun.size).toBe(2);
  begun.get("a")?.resolve("A");
  begun.get("b")?.reject(new Error("broken"));
  await expect(ended).rejects.toThrow("broken");
  expect(results).toEqual(["A"]);
});
