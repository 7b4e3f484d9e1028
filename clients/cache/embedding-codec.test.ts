import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { packEmbedding, unpackEmbedding } from "./embedding-codec.js";

const there = (...values: number[]) => [...unpackEmbedding(packEmbedding(values))];

describe("a packed embedding", () => {
  test("takes two bytes a component, little-endian", () => {
    expect([...packEmbedding([1, -2, 0.5])]).toEqual([0x00, 0x3c, 0x00, 0xc0, 0x00, 0x38]);
    expect(packEmbedding(new Float32Array(256))).toHaveLength(512);
  });

  test("has exactly what a float16 holds", () => {
    const exact = [0, 1, -1, 0.5, 65_504, -65_504, 2 ** -14, 2 ** -24, -(2 ** -24), 1023 * 2 ** -24, 1 + 1 / 1024];
    expect(there(...exact)).toEqual(exact);
    expect(Object.is(there(-0)[0], -0)).toBe(true);
  });

  test("rounds to the nearest, and to the even one of two that are as near", () => {
    expect(there(1 + 1 / 2048, 1 + 3 / 2048, 2 ** -25, 3 * 2 ** -25)).toEqual([1, 1 + 2 / 1024, 0, 2 ** -23]);
    expect(there(1 + 1 / 2048 + 1e-6)).toEqual([1 + 1 / 1024]);
  });

  test("comes back within a 2048th of each component", () => {
    const component = fc.double({ min: -65_504, max: 65_504, noNaN: true });
    fc.assert(
      fc.property(fc.array(component), (vector) => {
        const back = unpackEmbedding(packEmbedding(vector));
        expect(back).toHaveLength(vector.length);
        vector.forEach((value, i) => expect(Math.abs(back[i]! - value)).toBeLessThanOrEqual(Math.max(Math.abs(value) / 2047, 2 ** -24)));
      }),
    );
  });

  test("keeps the cosine of two vectors to four digits", () => {
    fc.assert(
      fc.property(fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 64, maxLength: 64 }), (vector) => {
        const back = unpackEmbedding(packEmbedding(vector));
        const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a).reduce((sum, x, i) => sum + x * b[i]!, 0);
        const length = Math.sqrt(dot(vector, vector));
        if (length > 0.1) expect(dot(vector, back) / (length * Math.sqrt(dot(back, back)))).toBeGreaterThan(0.9999);
      }),
    );
  });

  test("is read from the middle of a message", () => {
    const message = new Uint8Array([9, ...packEmbedding([1, 2]), 9]);
    expect([...unpackEmbedding(message.subarray(1, 5))]).toEqual([1, 2]);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 65_505, -1e9])("is not made of %s, which it could not hold", (value) => {
    expect(() => packEmbedding([0, value])).toThrow(`component 1 of an embedding is ${value}`);
  });

  test("is not half a component", () => {
    expect(() => unpackEmbedding(new Uint8Array(3))).toThrow("two bytes a component, not 3");
  });
});
