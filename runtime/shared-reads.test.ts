import { expect, test, vi } from "vitest";
import { SharedReads } from "./shared-reads.js";

/** Reads that end when they are told to. */
function heldReads() {
  const ends: ((value: number | Error) => void)[] = [];
  const read = () =>
    new Promise<number>((resolve, reject) => ends.push((value) => (typeof value === "number" ? resolve(value) : reject(value))));
  return { ends, read };
}

test("those who ask while a read is under way share the next one, which begins when it has ended", async () => {
  const reads = new SharedReads<number>();
  const { ends, read } = heldReads();
  const first = reads.get("a", read);
  const later = [reads.get("a", read), reads.get("a", read)];
  expect(ends).toHaveLength(1);
  ends[0]!(1);
  expect(await first).toBe(1);
  await vi.waitFor(() => expect(ends).toHaveLength(2));
  const afterThem = reads.get("a", read);
  ends[1]!(2);
  expect(await Promise.all(later)).toEqual([2, 2]);
  await vi.waitFor(() => expect(ends).toHaveLength(3));
  ends[2]!(3);
  expect(await afterThem).toBe(3);
});

test("a read that fails is its own askers' failure, and one of another key nobody's", async () => {
  const reads = new SharedReads<number>();
  const { ends, read } = heldReads();
  const first = reads.get("a", read);
  const next = reads.get("a", read);
  const other = reads.get("b", read);
  ends[1]!(7);
  expect(await other).toBe(7);
  ends[0]!(new Error("gone"));
  await expect(first).rejects.toThrow("gone");
  await vi.waitFor(() => expect(ends).toHaveLength(3));
  ends[2]!(2);
  expect(await next).toBe(2);
});

test("a read that hangs holds nobody up for long", async () => {
  const reads = new SharedReads<number>();
  const { ends, read } = heldReads();
  void reads.get("a", read);
  const next = reads.get("a", read);
  await vi.waitFor(() => expect(ends).toHaveLength(2));
  ends[1]!(2);
  expect(await next).toBe(2);
});
