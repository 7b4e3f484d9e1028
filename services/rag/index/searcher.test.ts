import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { quantize } from "../../../runtime/embedding/quantize.js";
import { type Mode, modes } from "./fusion.js";
import { Searcher } from "./searcher.js";
import { buildSegment, positionOf, Segment } from "./segment.js";
import { mergeSegments } from "./segment-merge.js";
import { Tombstones } from "./tombstones.js";
import { buildVectors, decodeVectors, mergeVectors, type QuantizedVectors } from "./vector-format.js";
import { LoadedVectors, prepareQuery } from "./vectors.js";

interface Chunk {
  chunkId: number;
  terms: string[];
  vector: Float32Array;
}
interface Part {
  segment: Segment;
  vectors: QuantizedVectors;
  deleted: Tombstones;
}

const DIMENSION = 4;
const ALPHA = 0.3;

/** Every score worked out from the definitions, chunk by chunk. */
class BruteForce {
  readonly chunks = new Map<number, Chunk>();

  bm25(query: readonly string[]): Map<number, number> {
    const live = [...this.chunks.values()];
    const average = live.reduce((sum, { terms }) => sum + terms.length, 0) / live.length;
    const scores = new Map<number, number>();
    for (const term of new Set(query)) {
      const count = query.filter((other) => other === term).length;
      const holding = live.filter(({ terms }) => terms.includes(term));
      const idf = Math.log(1 + (live.length - holding.length + 0.5) / (holding.length + 0.5));
      for (const { chunkId, terms } of holding) {
        const frequency = terms.filter((other) => other === term).length;
        const score = (count * idf * frequency * 2.2) / (frequency + 1.2 * (0.25 + (0.75 * terms.length) / average));
        scores.set(chunkId, (scores.get(chunkId) ?? 0) + score);
      }
    }
    return scores;
  }

  cosines(query: Float32Array): Map<number, number> {
    const asked = prepareQuery(query);
    if (asked === undefined) return new Map();
    return new Map(
      [...this.chunks.values()].flatMap(({ chunkId, vector }) => {
        const { values, scale } = quantize(vector);
        const dot = values.reduce((sum, value, i) => sum + value * asked.values[i]!, 0);
        return scale === 0 ? [] : [[chunkId, dot * scale * asked.scale] as const];
      }),
    );
  }

  search(terms: string[], vector: Float32Array, mode: Mode, k: number, allow: (chunkId: number) => boolean) {
    const allowed = (scores: Map<number, number>) => new Map([...scores].filter(([id]) => allow(id)));
    const words = mode === "semantic" ? new Map<number, number>() : allowed(this.bm25(terms));
    const meaning = mode === "keyword" ? new Map<number, number>() : allowed(this.cosines(vector));
    const alpha = meaning.size === 0 ? 0 : words.size === 0 ? 1 : ALPHA;
    const best = Math.max(...words.values());
    return [...new Set([...words.keys(), ...meaning.keys()])]
      .map((chunkId) => ({ chunkId, score: alpha * (meaning.get(chunkId) ?? 0) + (1 - alpha) * (words.has(chunkId) ? words.get(chunkId)! / best : 0) }))
      .sort((a, b) => b.score - a.score || a.chunkId - b.chunkId)
      .slice(0, k);
  }
}

/** An index as a store would keep it: segments that are added, marked and merged. */
class Store {
  parts: Part[] = [];

  add(chunks: readonly Chunk[]): void {
    this.delete(chunks.map(({ chunkId }) => chunkId));
    this.parts.push({
      segment: new Segment(buildSegment(chunks)),
      vectors: decodeVectors(buildVectors(DIMENSION, chunks)),
      deleted: Tombstones.none(chunks.length),
    });
  }

  delete(ids: readonly number[]): void {
    this.parts = this.parts.map((part) => ({
      ...part,
      deleted: part.deleted.with(ids.map((id) => positionOf(part.segment.chunkIds, id)).filter((local) => local >= 0)),
    }));
  }

  merge(from: number, count: number): void {
    const merged = this.parts.splice(from, count);
    if (merged.length === 0) return;
    const segment = new Segment(mergeSegments(merged));
    this.parts.push({ segment, vectors: decodeVectors(mergeVectors(merged)), deleted: Tombstones.none(segment.chunkIds.length) });
  }

  withSearcher(ask: (searcher: Searcher) => void): void {
    const vectors = this.parts.map(({ vectors: stored, deleted }) => ({ vectors: new LoadedVectors(stored), deleted }));
    ask(new Searcher({ lexical: this.parts, vectors, alpha: ALPHA }));
    for (const part of vectors) part.vectors.release();
  }
}

const chunk: fc.Arbitrary<Chunk> = fc.record({
  chunkId: fc.nat({ max: 40 }),
  terms: fc.array(fc.constantFrom("oil", "pump", "valve", "seal", "nut"), { maxLength: 8 }),
  vector: fc.array(fc.integer({ min: -3, max: 3 }), { minLength: DIMENSION, maxLength: DIMENSION }).map((list) => Float32Array.from(list)),
});
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ add: fc.uniqueArray(chunk, { selector: ({ chunkId }) => chunkId, minLength: 1, maxLength: 12 }) }) },
  { weight: 2, arbitrary: fc.record({ remove: fc.array(fc.nat({ max: 40 }), { maxLength: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ merge: fc.tuple(fc.nat({ max: 3 }), fc.integer({ min: 1, max: 4 })) }) },
);

describe("after any adds, deletes and merges", () => {
  test.each(modes)("%s ranking is that of brute force", (mode) => {
    const question = fc.record({
      terms: fc.array(fc.constantFrom("oil", "pump", "valve", "unknown"), { maxLength: 4 }),
      vector: fc.array(fc.integer({ min: -3, max: 3 }), { minLength: DIMENSION, maxLength: DIMENSION }).map((list) => Float32Array.from(list)),
      k: fc.integer({ min: 0, max: 50 }),
      allow: fc.option(fc.uniqueArray(fc.nat({ max: 40 }))),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), fc.array(question, { minLength: 1, maxLength: 4 }), (steps, questions) => {
        const store = new Store();
        const truth = new BruteForce();
        for (const each of steps) {
          if ("add" in each) {
            store.add(each.add);
            for (const added of each.add) truth.chunks.set(added.chunkId, added);
          } else if ("remove" in each) {
            store.delete(each.remove);
            for (const id of each.remove) truth.chunks.delete(id);
          } else {
            store.merge(...each.merge);
          }
        }
        store.withSearcher((searcher) => {
          expect(searcher.chunkCount).toBe(truth.chunks.size);
          for (const { terms, vector, k, allow } of questions) {
            const isAllowed = (id: number) => allow === null || allow.includes(id);
            const hits = searcher.search({ terms, vector, mode, k, allow: allow === null ? undefined : new Set(allow) });
            const expected = truth.search(terms, vector, mode, Infinity, isAllowed);
            const scores = new Map(expected.map(({ chunkId, score }) => [chunkId, score]));
            expect(hits).toHaveLength(Math.min(k, expected.length));
            expect(new Set(hits.map(({ chunkId }) => chunkId)).size).toBe(hits.length);
            // Two chunks whose scores differ only in the last digits may stand in either order.
            hits.forEach((hit, place) => {
              expect(hit.score).toBeCloseTo(scores.get(hit.chunkId)!, 10);
              expect(hit.score).toBeCloseTo(expected[place]!.score, 10);
            });
          }
        });
      }),
      { numRuns: 300 },
    );
  });
});

describe("a searcher", () => {
  const vector = (...components: number[]) => Float32Array.from(components);
  const chunks: Chunk[] = [
    { chunkId: 1, terms: ["oil", "pump"], vector: vector(1, 0, 0, 0) },
    { chunkId: 2, terms: ["oil"], vector: vector(0, 1, 0, 0) },
    { chunkId: 3, terms: ["seal"], vector: vector(0.8, 0.6, 0, 0) },
    { chunkId: 4, terms: ["oil"], vector: vector(0, 0, 0, 0) },
  ];
  const store = new Store();
  store.add(chunks);
  const search = (request: Parameters<Searcher["search"]>[0]) => {
    let hits: ReturnType<Searcher["search"]> = [];
    store.withSearcher((searcher) => (hits = searcher.search(request)));
    return hits;
  };

  test("explains a hit by each arm's score and rank", () => {
    const hits = search({ terms: ["pump", "oil"], vector: vector(0.6, 0.8, 0, 0), mode: "hybrid", k: 4 });
    const third = hits.find(({ chunkId }) => chunkId === 3)!;
    expect(third).toMatchObject({ bm25: 0, cosine: expect.closeTo(0.96, 2), ranks: { cosine: 1 } });
    expect(third.ranks).not.toHaveProperty("bm25");
    expect(hits.find(({ chunkId }) => chunkId === 1)).toMatchObject({ cosine: expect.closeTo(0.6, 2), ranks: { bm25: 1, cosine: 3 } });
    expect(hits.find(({ chunkId }) => chunkId === 4)).toMatchObject({ cosine: undefined, ranks: { bm25: 3 } });
  });

  test.each([
    { name: "keyword mode finds what holds a term", request: { terms: ["oil"], vector: vector(1, 0, 0, 0), mode: "keyword" }, ids: [2, 4, 1] },
    { name: "semantic mode finds what has a vector", request: { terms: ["oil"], vector: vector(1, 0, 0, 0), mode: "semantic" }, ids: [1, 3, 2] },
    { name: "hybrid mode without a vector is keyword mode", request: { terms: ["oil"], mode: "hybrid" }, ids: [2, 4, 1] },
    { name: "hybrid mode with a zero vector is keyword mode", request: { terms: ["oil"], vector: vector(0, 0, 0, 0), mode: "hybrid" }, ids: [2, 4, 1] },
    { name: "hybrid mode without a known term is semantic mode", request: { terms: ["moon"], vector: vector(1, 0, 0, 0), mode: "hybrid" }, ids: [1, 3, 2] },
    { name: "semantic mode without a vector finds nothing", request: { terms: ["oil"], mode: "semantic" }, ids: [] },
    { name: "nothing is asked", request: { terms: [], mode: "hybrid" }, ids: [] },
  ] as const)("$name", ({ request, ids }) => {
    expect(search({ ...request, k: 9 }).map(({ chunkId }) => chunkId)).toEqual(ids);
  });

  test("finds k allowed chunks when there are k, however far down they rank", () => {
    const many = new Store();
    many.add(Array.from({ length: 1_000 }, (_, chunkId) => ({ chunkId, terms: ["oil", ...Array(chunkId).fill("x")], vector: vector(1, chunkId, 0, 0) })));
    many.withSearcher((searcher) => {
      const hits = searcher.search({ terms: ["oil"], vector: vector(1, 0, 0, 0), mode: "hybrid", k: 3, allow: (id) => id >= 990 });
      expect(hits.map(({ chunkId }) => chunkId)).toEqual([990, 991, 992]);
    });
  });

  test("an empty collection answers nothing", () => {
    const empty = new Searcher({ lexical: [], vectors: [], alpha: ALPHA });
    expect(empty.chunkCount).toBe(0);
    expect(empty.search({ terms: ["oil"], vector: vector(1), mode: "hybrid", k: 5 })).toEqual([]);
  });
});
