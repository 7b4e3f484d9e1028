import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JavaScriptKernel, WasmKernel } from "./dot-kernel.js";
import { Tombstones } from "./tombstones.js";
import { buildVectors, type ChunkVector, decodeVectors, mergeVectors } from "./vector-format.js";
import { LoadedVectors, prepareQuery, VectorIndex } from "./vectors.js";

/** Deterministic directions: neighbours by number are neighbours in space. */
function direction(n: number, dimension: number): Float32Array {
  const vector = Float32Array.from({ length: dimension }, (_, i) => Math.sin(n * 0.37 + i * (1 + n * 0.01)));
  const norm = Math.hypot(...vector);
  return vector.map((component) => component / norm);
}

const vectorsOf = (dimension: number) =>
  fc.uniqueArray(fc.record({ chunkId: fc.nat({ max: 500 }), n: fc.nat({ max: 1_000 }) }), { selector: ({ chunkId }) => chunkId, maxLength: 30 }).map(
    (list) => list.map(({ chunkId, n }): ChunkVector => ({ chunkId, vector: n % 7 === 0 ? new Float32Array(dimension) : direction(n, dimension) })),
  );

describe("stored vectors", () => {
  test("come back in the order of their ids, within half a step of int8", () => {
    fc.assert(
      fc.property(vectorsOf(20), (chunks) => {
        const { chunkIds, dimension, scales, values } = decodeVectors(buildVectors(20, chunks));
        const sorted = chunks.toSorted((a, b) => a.chunkId - b.chunkId);
        expect([...chunkIds]).toEqual(sorted.map(({ chunkId }) => chunkId));
        sorted.forEach(({ vector }, row) =>
          vector.forEach((component, i) => {
            const step = scales[row]!;
            expect(Math.abs(values[row * dimension + i]! * step - component)).toBeLessThanOrEqual(step * 0.501);
          }),
        );
      }),
    );
  });

  test("merge to the bytes of all live ones built at once", () => {
    fc.assert(
      fc.property(vectorsOf(5), fc.infiniteStream(fc.nat({ max: 2 })), fc.infiniteStream(fc.boolean()), (chunks, places, deletions) => {
        const groups: ChunkVector[][] = [[], [], []];
        for (const chunk of chunks) groups[places.next().value!]!.push(chunk);
        const live: ChunkVector[] = [];
        const inputs = groups.map((group) => {
          const sorted = group.toSorted((a, b) => a.chunkId - b.chunkId);
          const deleted = sorted.flatMap((_, row) => (deletions.next().value! ? [row] : []));
          live.push(...sorted.filter((_, row) => !deleted.includes(row)));
          return { vectors: decodeVectors(buildVectors(5, group)), deleted: Tombstones.none(group.length).with(deleted) };
        });
        expect(Buffer.from(mergeVectors(inputs))).toEqual(Buffer.from(buildVectors(5, live)));
      }),
    );
  });

  const bytes = buildVectors(3, [{ chunkId: 1, vector: Float32Array.of(1, 0, 0) }, { chunkId: 9, vector: Float32Array.of(0, 1, 0) }]);

  test("are refused when damaged", () => {
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice();
      damaged[at]! ^= 0x21;
      expect(() => decodeVectors(damaged)).toThrow(/build the (collection's )?index anew/);
      expect(() => decodeVectors(bytes.slice(0, at))).toThrow(expect.objectContaining({ kind: "CORRUPT" }));
    }
  });

  test.each([
    { name: "a wrong dimension", dimension: 2, vectors: [[1, 0, 0]], message: /chunk 0 has 3 components, not 2/ },
    { name: "no dimension", dimension: 0, vectors: [], message: /from 1 to 16384/ },
    { name: "more components than the kernel takes", dimension: 16_385, vectors: [], message: /from 1 to 16384/ },
  ])("are refused with $name", ({ dimension, vectors, message }) => {
    const chunks = vectors.map((vector, chunkId) => ({ chunkId, vector: Float32Array.from(vector) }));
    expect(() => buildVectors(dimension, chunks)).toThrow(message);
  });

  test("are refused when a chunk has two, or when they differ in dimension", () => {
    const one = { chunkId: 1, vector: Float32Array.of(1) };
    expect(() => buildVectors(1, [one, one])).toThrow(/id 1 occurs twice/);
    const vectors = decodeVectors(buildVectors(1, [one]));
    expect(() => mergeVectors([{ vectors }, { vectors }])).toThrow(/chunk 1 is in two blocks/);
    expect(() => mergeVectors([{ vectors }, { vectors: decodeVectors(bytes) }])).toThrow(/do not merge/);
  });
});

describe("a prepared question", () => {
  const components = fc.oneof(fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 600 }), fc.integer({ min: 1, max: 16_384 }).map((length) => Array<number>(length).fill(0.01)));

  test("is within half a step, and its product with any row fits 32 bits", () => {
    fc.assert(
      fc.property(components, (list) => {
        const vector = Float32Array.from(list);
        const query = prepareQuery(vector);
        if (query === undefined) {
          expect(Math.max(...list.map(Math.abs))).toBeLessThan(1e-30);
          return;
        }
        vector.forEach((component, i) => expect(Math.abs(query.values[i]! * query.scale - component)).toBeLessThanOrEqual(query.scale * 0.501));
        expect(query.values.reduce((sum, value) => sum + 127 * Math.abs(value), 0)).toBeLessThan(2 ** 31);
        expect(query.values.length % 16).toBe(0);
      }),
    );
  });

  test("has more than 8 bits where there is room", () => {
    expect(prepareQuery(Float32Array.of(0.6, 0.8))!.values.slice(0, 2)).toEqual(Int16Array.of(24_575, 32_767));
  });
});

describe.each([new JavaScriptKernel(), new WasmKernel()])("an index on the $name kernel", (kernel) => {
  const load = (dimension: number, chunks: readonly ChunkVector[]) => new LoadedVectors(decodeVectors(buildVectors(dimension, chunks)), kernel);
  const many = Array.from({ length: 3_000 }, (_, chunkId) => ({ chunkId, vector: direction(chunkId, 100) }));

  test("over several slabs, the nearest come first", () => {
    const index = new VectorIndex([{ vectors: load(100, many) }]);
    for (const chunkId of [0, 584, 585, 1_500, 2_999]) {
      const [best] = index.score(direction(chunkId, 100))!.top(3);
      expect(best!.chunkId).toBe(chunkId);
      expect(best!.score).toBeCloseTo(1, 2);
    }
  });

  test("a small allowed set, a large one and a predicate give the same", () => {
    const scores = new VectorIndex([{ vectors: load(100, many) }]).score(direction(7, 100))!;
    const few = new Set([5, 6, 700, 1_800, 4_000]);
    expect(scores.top(10, few)).toEqual(scores.top(10, (id) => few.has(id)));
    const half = new Set(many.map(({ chunkId }) => chunkId).filter((id) => id % 2 === 0));
    expect(scores.top(10, half)).toEqual(scores.top(10, (id) => id % 2 === 0));
  });

  test("released vectors cannot be searched, and give their memory back", () => {
    const vectors = load(100, many);
    const index = new VectorIndex([{ vectors }]);
    vectors.release();
    expect(() => index.score(direction(1, 100))!.top(1)).toThrow(/released/);
    expect(() => index.score(direction(1, 100))!.of(1)).toThrow(/released/);
    expect(vectors.byteLength).toBe(12 * many.length);
  });

  test("a zero vector finds nothing and is never found", () => {
    const index = new VectorIndex([{ vectors: load(2, [{ chunkId: 1, vector: new Float32Array(2) }, { chunkId: 2, vector: Float32Array.of(-1, 0) }]) }]);
    expect(index.score(new Float32Array(2))).toBeUndefined();
    const scores = index.score(Float32Array.of(1, 0))!;
    expect(scores.top(9)).toEqual([{ chunkId: 2, score: expect.closeTo(-1, 5) }]);
    expect(scores.of(1)).toBeUndefined();
    expect(scores.of(3)).toBeUndefined();
  });

  test("a vector of another dimension is refused, as are parts that differ", () => {
    const index = new VectorIndex([{ vectors: load(2, [{ chunkId: 1, vector: Float32Array.of(1, 0) }]) }]);
    expect(() => index.score(Float32Array.of(1))).toThrow(/1 components, the index 2/);
    expect(() => new VectorIndex([{ vectors: load(2, []) }, { vectors: load(3, []) }])).toThrow(/2 and 3 components/);
    expect(new VectorIndex([]).score(Float32Array.of(1))).toBeUndefined();
  });
});
