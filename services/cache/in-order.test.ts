import { expect, test } from "vitest";
import { inOrder } from "./in-order.js";

async function* from<T>(...items: T[]) {
  yield* items;
}

test("gives results in the order of arrival, not of their completion", async () => {
  const finish: (() => void)[] = [];
  const results = inOrder(from(0, 1, 2), { limit: 10 }, (item) => new Promise<number>((resolve) => (finish[item] = () => resolve(item))));
  const all = (async () => {
    const seen = [];
    for await (const result of results) seen.push(result);
    return seen;
  })();
  await expect.poll(() => finish.length).toBe(3);
  for (const item of [2, 0, 1]) finish[item]!();
  expect(await all).toEqual([0, 1, 2]);
});

test("never works on more than the limit at once", async () => {
  let open = 0;
  let most = 0;
  const work = async (item: number) => {
    open += 1;
    most = Math.max(most, open);
    await new Promise((resolve) => setImmediate(resolve));
    open -= 1;
    return item;
  };
  const seen: number[] = [];
  for await (const result of inOrder(from(...Array.from({ length: 50 }, (_, i) => i)), { limit: 4 }, work)) seen.push(result);
  expect(seen).toHaveLength(50);
  expect(most).toBe(4);
});

test.each([
  {
    what: "the work",
    source: () => from(1, 2),
    work: async (item: number) => {
      if (item === 2) throw new Error("broken");
      return item;
    },
  },
  {
    what: "the source",
    source: async function* () {
      yield 1;
      throw new Error("broken");
    },
    work: async (item: number) => item,
  },
])("throws what $what throws, after the results before it", async ({ source, work }) => {
  const results = inOrder(source(), { limit: 4 }, work);
  expect(await results.next()).toEqual({ value: 1, done: false });
  await expect(results.next()).rejects.toThrow("broken");
});

test("stops reading when nobody wants more", async () => {
  let read = 0;
  async function* endless() {
    for (;;) {
      read += 1;
      yield read;
    }
  }
  for await (const result of inOrder(endless(), { limit: 3 }, async (item) => item)) if (result === 5) break;
  const atEnd = read;
  await new Promise((resolve) => setImmediate(resolve));
  expect(read).toBe(atEnd);
  expect(read).toBeLessThan(10);
});

test("told to stop it gives what was begun, and waits for no more", async () => {
  const stop = new AbortController();
  async function* waiting() {
    yield 1;
    yield 2;
    await new Promise(() => {});
  }
  const seen: number[] = [];
  for await (const result of inOrder(waiting(), { limit: 4, stop: stop.signal }, async (item) => item)) if (seen.push(result) === 2) stop.abort();
  expect(seen).toEqual([1, 2]);
});
