import fc from "fast-check";
import { expect, test } from "vitest";
import { TopK } from "./top-k.js";

test("keeps the best, of equal scores the lower ids", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -3, max: 3 })), fc.nat({ max: 12 }), (scores, k) => {
      const best = new TopK(k);
      scores.forEach((score, chunkId) => best.offer(chunkId, score));
      const all = scores.map((score, chunkId) => ({ chunkId, score })).sort((a, b) => b.score - a.score || a.chunkId - b.chunkId);
      expect(best.sorted()).toEqual(all.slice(0, k));
    }),
  );
});

test("says below what it takes nothing more", () => {
  const best = new TopK(2);
  best.offer(1, 5);
  expect(best.threshold).toBe(-Infinity);
  best.offer(2, 7);
  expect(best.threshold).toBe(5);
  expect(new TopK(0).threshold).toBe(Infinity);
});
