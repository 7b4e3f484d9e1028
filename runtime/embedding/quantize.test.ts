import fc from "fast-check";
import { expect, test } from "vitest";
import { quantize } from "./quantize.js";

test("rounds to the nearest of 255 steps, the largest component being 127", () => {
  const { values, scale } = quantize([0.5, -1, 0.25, 0]);
  expect([...values]).toEqual([64, -127, 32, 0]);
  expect(scale).toBeCloseTo(1 / 127);
});

test.each([{ vector: [] }, { vector: [0, 0, 0] }, { vector: [1e-300, 0] }])("$vector has the scale 0", ({ vector }) => {
  expect(quantize(vector)).toEqual({ values: new Int8Array(vector.length), scale: 0 });
});

test("no component is off by more than half a step", () => {
  fc.assert(
    fc.property(fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 1 }), (vector) => {
      const { values, scale } = quantize(vector);
      vector.forEach((component, i) => expect(Math.abs(component - values[i]! * scale)).toBeLessThanOrEqual(scale * 0.5001 + 1e-40));
    }),
  );
});
