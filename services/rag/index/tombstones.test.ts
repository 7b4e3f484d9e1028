import fc from "fast-check";
import { expect, test } from "vitest";
import { Tombstones } from "./tombstones.js";

test("hold what was deleted, through bytes too", () => {
  fc.assert(
    fc.property(fc.nat({ max: 100 }), fc.array(fc.nat()), (size, numbers) => {
      const locals = size === 0 ? [] : numbers.map((number) => number % size);
      const deleted = Tombstones.decode(Tombstones.none(size).with(locals).encode(), size);
      const sorted = [...new Set(locals)].sort((a, b) => a - b);
      expect([...deleted]).toEqual(sorted);
      expect(deleted.count).toBe(sorted.length);
      for (let local = 0; local < size; local++) expect(deleted.has(local)).toBe(sorted.includes(local));
    }),
  );
});

test("a deletion leaves the older ones as they were", () => {
  const older = Tombstones.none(10).with([1]);
  expect([...older.with([2, 1])]).toEqual([1, 2]);
  expect([...older]).toEqual([1]);
});

test.each([[-1], [10], [0.5], [NaN]])("refuse the local number %d of 10", (local) => {
  expect(() => Tombstones.none(10).with([local])).toThrow(/no chunk/);
});

test.each([
  { name: "too short", bytes: [0], size: 10 },
  { name: "too long", bytes: [0, 0, 0], size: 10 },
  { name: "set behind the last chunk", bytes: [0, 0b100], size: 10 },
])("refuse bytes that are $name", ({ bytes, size }) => {
  expect(() => Tombstones.decode(Uint8Array.from(bytes), size)).toThrow(expect.objectContaining({ kind: "CORRUPT" }));
});
