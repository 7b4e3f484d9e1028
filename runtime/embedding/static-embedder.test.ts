import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { loadStaticEmbedder, STATIC_DIMENSION, StaticEmbedder } from "./static-embedder.js";
import { WordPieceTokenizer } from "./wordpiece.js";

const model = (file: string) => readFileSync(new URL(`../../models/static-256/${file}`, import.meta.url), "utf8");
const reference = JSON.parse(model("reference.json")) as {
  vectors: { text: string; token_ids: number[]; vector_first_8: number[] }[];
  cosine_0_1: number;
  cosine_0_2: number;
  cosine_0_3: number;
};
const embedder = await loadStaticEmbedder();
const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, component, i) => sum + component * b[i]!, 0);

test.each(reference.vectors)("embeds $text as the model's reference does", async ({ text, token_ids, vector_first_8 }) => {
  const tokenizer = new WordPieceTokenizer(model("vocab.txt").trimEnd().split("\n"));
  expect(tokenizer.encode(text)).toEqual(token_ids);
  const [vector] = await embedder.embed([text]);
  expect(vector).toHaveLength(embedder.dimension);
  vector_first_8.forEach((component, i) => expect(vector![i]).toBeCloseTo(component, 4));
});

test("similarities are those of the model's reference", async () => {
  const [first, second, third, fourth] = await embedder.embed(reference.vectors.map(({ text }) => text));
  expect(dot(first!, second!)).toBeCloseTo(reference.cosine_0_1, 3);
  expect(dot(first!, third!)).toBeCloseTo(reference.cosine_0_2, 3);
  expect(dot(first!, fourth!)).toBeCloseTo(reference.cosine_0_3, 3);
});

test("every vector has length 1, or is zero for a text without tokens", async () => {
  await fc.assert(
    fc.asyncProperty(fc.string(), async (text) => {
      const [vector] = await embedder.embed([text]);
      const length = Math.sqrt(dot(vector!, vector!));
      if (text.trim() === "") expect(length).toBe(0);
      else expect(length).toBeCloseTo(1, 5);
    }),
  );
});

test("a text's vector does not depend on the texts embedded before it", async () => {
  const texts = Array.from({ length: 200 }, (_, i) => `text ${i} of the batch, of the batch`);
  const batch = await embedder.embed(texts);
  expect(batch[150]).toEqual(embedder.embedText(texts[150]!));
});

test("stops when the caller has given up", async () => {
  const controller = new AbortController();
  const pending = embedder.embed(Array.from({ length: 1_000 }, () => "grease"), controller.signal);
  controller.abort(new Error("no longer wanted"));
  await expect(pending).rejects.toThrow("no longer wanted");
});

test("is read once a process", () => {
  expect(loadStaticEmbedder()).toBe(loadStaticEmbedder());
});

test("refuses files that do not belong together", () => {
  expect(() => new StaticEmbedder(["[UNK]"], new Int8Array(STATIC_DIMENSION), new Float32Array(2))).toThrow(/do not belong together/);
});
