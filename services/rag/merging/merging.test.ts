import { describe, expect, test } from "vitest";
import { buildSegment, Segment } from "../index/segment.js";
import { Tombstones } from "../index/tombstones.js";
import type { SegmentEntry } from "../store/store.js";
import { mergeBlobs, mergeHere } from "./merge-blobs.js";
import { planMerge } from "./merge-plan.js";

function blobOf(first: number, count: number, deleted: readonly number[] = []) {
  const chunks = Array.from({ length: count }, (_, i) => ({
    chunkId: first + i,
    terms: Array.from({ length: 40 }, (_, n) => `word${(i * 31 + n * 17) % 5_000}`),
  }));
  return { bytes: buildSegment(chunks), deleted: Tombstones.none(count).with(deleted).encode() };
}

describe("merging segments", () => {
  test("in a thread gives what it gives here", async () => {
    const blobs = Array.from({ length: 10 }, (_, i) => blobOf(1 + i * 1_000, 1_000, [0, 5, 999]));
    expect(blobs.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeGreaterThan(500_000);
    const merged = await mergeBlobs(blobs);
    expect(merged.runs).toEqual(mergeHere(blobs).runs);
    expect(Buffer.compare(merged.bytes, mergeHere(blobs).bytes)).toBe(0);
    expect(new Segment(merged.bytes).chunkIds).toHaveLength(10 * 997);
  });

  test("in a thread that fails rejects", async () => {
    const damaged = blobOf(1, 20_000);
    damaged.bytes[damaged.bytes.length - 1]! ^= 1;
    await expect(mergeBlobs([damaged])).rejects.toThrow(/checksum/);
  });
});

describe("what is merged next", () => {
  let id = 0;
  const segment = (level: number, first: number, chunkCount: number, deadCount = 0): SegmentEntry => ({
    id: ++id,
    level,
    runs: [{ first, count: chunkCount }],
    chunkCount,
    deadCount,
    bytes: 1,
    tombstoneVersion: 0,
  });
  const plan = (segments: SegmentEntry[]) => {
    const found = planMerge({ model: "static-256", epoch: 1, segments });
    return found && { level: found.level, firsts: found.inputs.map(({ runs }) => runs[0]!.first) };
  };
  const row = (level: number, count: number, size = 1_000) => Array.from({ length: count }, (_, i) => segment(level, 1 + i * size, size));

  test("is nothing while there are few of a level", () => {
    expect(plan([])).toBeUndefined();
    expect(plan([...row(0, 9), ...row(1, 9), ...row(2, 9)])).toBeUndefined();
  });

  test("is ten neighbours of the lowest level that has them", () => {
    const firsts = Array.from({ length: 10 }, (_, i) => 1 + i * 1_000);
    expect(plan([...row(1, 12), ...row(0, 11)].reverse())).toEqual({ level: 1, firsts });
    expect(plan([...row(1, 12), ...row(0, 9)])).toEqual({ level: 2, firsts });
  });

  test("is nothing above what a merge may hold", () => {
    expect(plan(row(2, 10, 30_000))).toBeUndefined();
  });

  test("is a segment alone that is mostly dead", () => {
    expect(plan([segment(1, 1, 1_000, 501), segment(0, 2_000, 50, 49)])).toEqual({ level: 1, firsts: [1] });
    expect(plan([segment(1, 1, 1_000, 500)])).toBeUndefined();
  });
});
