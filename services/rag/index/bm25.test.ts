import { describe, expect, test } from "vitest";
import { LexicalIndex, QUESTION_BYTES } from "./bm25.js";
import { buildSegment, Segment } from "./segment.js";
import { Tombstones } from "./tombstones.js";

const segment = (chunks: Record<number, string>) =>
  new Segment(buildSegment(Object.entries(chunks).map(([id, text]) => ({ chunkId: Number(id), terms: text.split(" ").filter(Boolean) }))));

// Worked out by hand from the formula: N = 3, average length 4, "oil" in two chunks, "valve" in one.
const texts = { 1: "oil oil pump seal", 2: "valve", 3: "oil pump bearing seal shaft ring nut" };
const idf = (df: number, n = 3) => Math.log(1 + (n - df + 0.5) / (df + 0.5));
const weight = (frequency: number, length: number, average = 4) => (frequency * 2.2) / (frequency + 1.2 * (0.25 + 0.75 * (length / average)));

describe("BM25", () => {
  const index = new LexicalIndex([{ segment: segment(texts) }]);

  test("scores by idf, frequency and length", () => {
    expect(index.averageLength).toBe(4);
    expect(index.score(["oil"]).top(9)).toEqual([
      { chunkId: 1, score: expect.closeTo(idf(2) * weight(2, 4), 12) },
      { chunkId: 3, score: expect.closeTo(idf(2) * weight(1, 7), 12) },
    ]);
  });

  test("adds up over terms; a repeated one counts twice, an unknown one nothing", () => {
    const scores = index.score(["valve", "oil", "unknown", "valve"]);
    expect(scores.of(2)).toBeCloseTo(2 * idf(1) * weight(1, 1), 12);
    expect(scores.of(1)).toBeCloseTo(idf(2) * weight(2, 4), 12);
    expect(scores.of(99)).toBe(0);
  });

  test("deleted chunks count nowhere: not in df, not in N, not in the average", () => {
    const other = segment({ 4: "oil oil oil oil", 5: "valve oil" });
    const deleted = Tombstones.none(2).with([0, 1]);
    const scores = new LexicalIndex([{ segment: segment(texts) }, { segment: other, deleted }]).score(["oil", "valve"]);
    const rebuilt = index.score(["oil", "valve"]);
    expect(scores.top(9)).toEqual(rebuilt.top(9));
    expect(scores.of(4)).toBe(0);
  });

  test("a chunk written again is the one that lives", () => {
    const old = { segment: segment({ 1: "oil" }), deleted: Tombstones.none(1).with([0]) };
    const scores = new LexicalIndex([old, { segment: segment({ 1: "valve" }) }]).score(["valve"]);
    expect(scores.of(1)).toBeGreaterThan(0);
  });

  test("only allowed chunks are answered with, and they keep their scores", () => {
    const scores = index.score(["oil"]);
    const [, second] = scores.top(2);
    expect(scores.top(1, new Set([3, 2]))).toEqual([second]);
    expect(scores.top(1, (id) => id === 3)).toEqual([second]);
    expect(scores.top(1, new Set())).toEqual([]);
  });

  test.each([
    { name: "no segment", parts: [] },
    { name: "an empty segment", parts: [{ segment: segment({}) }] },
    { name: "chunks without terms", parts: [{ segment: segment({ 1: "" }) }] },
  ])("an index of $name answers nothing", ({ parts }) => {
    expect(new LexicalIndex(parts).score(["oil"]).top(5)).toEqual([]);
  });

  test("keeps the terms that were asked for last, within its memory", () => {
    const chunks = Array.from({ length: 100 }, (_, i) => [i, `oil term${i % 20}`]);
    const read: string[] = [];
    const inner = segment(Object.fromEntries(chunks));
    const { chunkIds, lengths, totalLength } = inner;
    const postings = (term: string) => (read.push(term), inner.postings(term));
    const kept = new LexicalIndex([{ segment: { chunkIds, lengths, totalLength, postings } }]);
    const [first, again] = [kept.score(["oil", "term1"]).top(3), kept.score(["oil", "term1"]).top(3)];
    expect(again).toEqual(first);
    expect(read).toEqual(["oil", "term1"]);
    for (let i = 0; i < 20; i++) kept.score([`term${i}`]);
    expect(kept.byteLength).toBeLessThanOrEqual(100 * QUESTION_BYTES);
    kept.score(["oil"]);
    expect(read.filter((term) => term === "oil")).toHaveLength(2);
  });

  test("no terms answer nothing", () => {
    expect(index.score([]).top(5)).toEqual([]);
  });
});
