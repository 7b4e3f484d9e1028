import { describe, expect, test } from "vitest";
import { contextPrecision, distinct, ndcg, recall, reciprocalRank } from "./ranking-metrics.js";

const gains = new Map([
  ["a", 1],
  ["b", 1],
]);

describe("ranking metrics", () => {
  test.each([
    { ranked: ["a", "b", "x"], expected: 1 },
    { ranked: ["x", "a", "b"], expected: (1 / Math.log2(3) + 1 / 2) / (1 + 1 / Math.log2(3)) },
    { ranked: ["a"], expected: 1 / (1 + 1 / Math.log2(3)) },
    { ranked: ["x", "y", "z", "a"], expected: 0 },
    { ranked: [], expected: 0 },
  ])("nDCG@3 of $ranked is $expected", ({ ranked, expected }) => {
    expect(ndcg(ranked, gains, 3)).toBeCloseTo(expected, 12);
  });

  test("nDCG rewards the larger gain first", () => {
    const graded = new Map([
      ["a", 2],
      ["b", 1],
    ]);
    expect(ndcg(["a", "b"], graded, 10)).toBe(1);
    expect(ndcg(["b", "a"], graded, 10)).toBeCloseTo((1 + 2 / Math.log2(3)) / (2 + 1 / Math.log2(3)), 12);
  });

  test("recall counts what is among the first k", () => {
    expect(recall(["x", "a", "b"], gains, 2)).toBe(0.5);
    expect(recall(["x", "a", "b"], gains, 3)).toBe(1);
    expect(recall(["a"], new Map(), 3)).toBe(0);
  });

  test("the reciprocal rank is that of the first relevant one", () => {
    expect(reciprocalRank(["x", "y", "b", "a"], gains)).toBeCloseTo(1 / 3, 12);
    expect(reciprocalRank(["x"], gains)).toBe(0);
  });

  test.each([
    { relevant: [true, false, true], expected: (1 + 2 / 3) / 2 },
    { relevant: [false, true], expected: 0.5 },
    { relevant: [false], expected: 0 },
    { relevant: [], expected: 0 },
  ])("context precision of $relevant is $expected", ({ relevant, expected }) => {
    expect(contextPrecision(relevant)).toBeCloseTo(expected, 12);
  });

  test("a document counts at its best chunk's rank", () => {
    expect(distinct(["a", "b", "a", "c"])).toEqual(["a", "b", "c"]);
  });
});
