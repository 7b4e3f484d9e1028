import { expect, test } from "vitest";
import type { Embedder } from "../../runtime/embedding/embedder.js";
import { memoryCache } from "../../tests/support/memory-cache.js";
import { cachedEmbedder, pack, unpack } from "./cached-embedder.js";

function countingEmbedder(model: string, msPerText: number) {
  const batches: string[][] = [];
  let time = 0;
  const embedder: Embedder = {
    model,
    dimension: 2,
    embed: async (texts) => {
      batches.push([...texts]);
      time += texts.length * msPerText;
      return texts.map((text) => Float32Array.from(text.startsWith("a") ? [1, 0] : [0, 1]));
    },
  };
  return { batches, embedder, now: () => time };
}

test("embeds a text once, of several models each", async () => {
  const cache = memoryCache();
  const { embedder, batches, now } = countingEmbedder("one", 1);
  const first = await cachedEmbedder(embedder, cache, now).embed(["a1", "b1"]);
  const again = await cachedEmbedder(embedder, cache, now).embed(["b1", "c", "a1"]);
  expect(batches).toEqual([["a1", "b1"], ["c"]]);
  expect(again[2]![0]).toBeCloseTo(first[0]![0]!, 2);
  expect(again[0]![1]).toBeCloseTo(1, 2);
  const other = countingEmbedder("two", 1);
  await cachedEmbedder(other.embedder, cache, other.now).embed(["a1"]);
  expect(other.batches).toEqual([["a1"]]);
});

test.each([
  { name: "a fast model takes ever larger batches", msPerText: 1, sizes: [8, 16, 32, 64, 128, 256, 256, 240] },
  { name: "a slow model stays with small ones", msPerText: 300, sizes: Array.from({ length: 125 }, () => 8) },
])("$name", async ({ msPerText, sizes }) => {
  const { embedder, batches, now } = countingEmbedder("one", msPerText);
  const texts = Array.from({ length: 1_000 }, (_, i) => `text ${i}`);
  expect(await cachedEmbedder(embedder, memoryCache(), now).embed(texts)).toHaveLength(1_000);
  expect(batches.map((batch) => batch.length)).toEqual(sizes);
});

test("a value that is no vector of the model is a miss", async () => {
  const cache = memoryCache();
  const { embedder, batches, now } = countingEmbedder("one", 1);
  await cachedEmbedder(embedder, cache, now).embed(["a"]);
  for (const key of cache.entries.keys()) cache.entries.set(key, Buffer.from("garbage"));
  await cachedEmbedder(embedder, cache, now).embed(["a"]);
  expect(batches).toHaveLength(2);
});

test("refuses a model's wrong answer, and keeps nothing of it", async () => {
  const cache = memoryCache();
  const embedder: Embedder = { model: "one", dimension: 2, embed: async (texts) => texts.map(() => Float32Array.from([NaN, 0])) };
  await expect(cachedEmbedder(embedder, cache, () => 0).embed(["a"])).rejects.toMatchObject({ kind: "NOT_FINITE" });
  expect(cache.entries.size).toBe(0);
});

test("a packed vector takes a byte a component and comes back the same when it is packed again", () => {
  const vector = Float32Array.from([0.6, -0.8, 0.01]);
  const bytes = pack(vector);
  expect(bytes).toHaveLength(7);
  expect(pack(unpack(bytes, 3)!)).toEqual(bytes);
  expect(unpack(bytes, 4)).toBeUndefined();
});
