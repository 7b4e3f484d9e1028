import { expect, test } from "vitest";
import { checkVectors } from "./embedder.js";

const embedder = { model: "remote", dimension: 2 };
const vector = (...components: number[]) => Float32Array.from(components);

test.each([
  { name: "too few vectors", vectors: [vector(1, 0)], kind: "WRONG_COUNT" },
  { name: "too many vectors", vectors: [vector(1, 0), vector(0, 1), vector(1, 0)], kind: "WRONG_COUNT" },
  { name: "a vector that is too short", vectors: [vector(1, 0), vector(1)], kind: "WRONG_DIMENSION" },
  { name: "a vector that is too long", vectors: [vector(1, 0, 0), vector(1, 0)], kind: "WRONG_DIMENSION" },
  { name: "NaN", vectors: [vector(1, 0), vector(NaN, 0)], kind: "NOT_FINITE" },
  { name: "infinity", vectors: [vector(1, 0), vector(0, Infinity)], kind: "NOT_FINITE" },
])("refuses $name", ({ vectors, kind }) => {
  expect(() => checkVectors(embedder, 2, vectors)).toThrow(expect.objectContaining({ kind }));
});

test("accepts what was promised, the zero vector too", () => {
  expect(() => checkVectors(embedder, 2, [vector(0.6, 0.8), vector(0, 0)])).not.toThrow();
});
