import { expect, test } from "vitest";
import { alphaOf, type Candidate, fuse } from "./fusion.js";

test.each([
  { model: "static-256", alpha: 0.3 },
  { model: "all-MiniLM-L6-v2", alpha: 0.7 },
  { model: "text-embedding-3-small", alpha: 0.5 },
])("the cosine of $model weighs $alpha", ({ model, alpha }) => {
  expect(alphaOf(model)).toBe(alpha);
});

const candidate = (chunkId: number, bm25: number, cosine?: number): Candidate => ({ chunkId, bm25, cosine, ranks: {} });
const ranking = (alpha: number, candidates: Candidate[], best = 8, k = 10) =>
  fuse(new Map(candidates.map((one) => [one.chunkId, one])), { alpha, best, k }).map(({ chunkId, score }) => [chunkId, Number(score.toFixed(4))]);

test("weighs the cosine and the share of the best BM25", () => {
  expect(ranking(0.3, [candidate(1, 4, 0.9), candidate(2, 8, 0.1), candidate(3, 0, 1)])).toEqual([
    [2, 0.73],
    [1, 0.62],
    [3, 0.3],
  ]);
});

test.each([
  { alpha: 0, order: [[2, 1], [1, 0.5], [3, 0]] },
  { alpha: 1, order: [[3, 0.95], [1, 0.9], [2, -0.1]] },
])("alpha $alpha is one arm alone", ({ alpha, order }) => {
  expect(ranking(alpha, [candidate(1, 4, 0.9), candidate(2, 8, -0.1), candidate(3, 0, 0.95)])).toEqual(order);
});

test("a chunk without a vector, and a question without known terms, score 0 in that arm", () => {
  expect(ranking(0.5, [candidate(1, 8), candidate(2, 0, 0.4)])).toEqual([[1, 0.5], [2, 0.2]]);
  expect(ranking(0.5, [candidate(2, 0, 0.4)], 0)).toEqual([[2, 0.2]]);
});

test("equal scores are in the order of ids, and no more than k come", () => {
  expect(ranking(0.5, [candidate(3, 8), candidate(1, 8), candidate(2, 8)], 8, 2)).toEqual([[1, 0.5], [2, 0.5]]);
});
