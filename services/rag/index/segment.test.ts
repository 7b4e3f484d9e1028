import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ChunkTerms, buildSegment, Segment } from "./segment.js";
import { mergeSegments } from "./segment-merge.js";
import { decodeHeader, decodePostings, decodeTermIndex, blockOfTerm, findInBlock, HEADER_BYTES } from "./segment-format.js";
import { Tombstones } from "./tombstones.js";

const words = fc.oneof(fc.constantFrom("oil", "oils", "pump", "pumps", "p", "東京", "𐐨", "\uffff", "é"), fc.string({ unit: "binary", minLength: 1, maxLength: 6 }))
  .filter((word) => !/\p{Cs}/u.test(word));
const chunkIds = fc.oneof(fc.integer({ min: 0, max: 60 }), fc.constantFrom(2 ** 32, 2 ** 53 - 1));
const chunkLists: fc.Arbitrary<ChunkTerms[]> = fc.uniqueArray(
  fc.record({ chunkId: chunkIds, terms: fc.array(words, { maxLength: 12 }) }),
  { selector: ({ chunkId }) => chunkId, maxLength: 30 },
);

/** What a segment says, as plain data. */
function contents(segment: Segment) {
  return {
    lengths: Object.fromEntries([...segment.chunkIds].map((id, local) => [id, segment.lengths[local]])),
    terms: Object.fromEntries(
      [...segment.terms()].map(({ term, chunks, frequencies }) => [
        term,
        Object.fromEntries(Array.from(chunks, (local, i) => [segment.chunkIds[local], frequencies[i]])),
      ]),
    ),
  };
}

function expected(chunks: readonly ChunkTerms[]) {
  const terms: Record<string, Record<number, number>> = {};
  for (const { chunkId, terms: list } of chunks) {
    for (const term of list) {
      terms[term] ??= {};
      terms[term][chunkId] = (terms[term][chunkId] ?? 0) + 1;
    }
  }
  return { lengths: Object.fromEntries(chunks.map(({ chunkId, terms: list }) => [chunkId, list.length])), terms };
}

describe("a segment", () => {
  test("holds what it was built of", () => {
    fc.assert(
      fc.property(chunkLists, words, (chunks, other) => {
        const segment = new Segment(buildSegment(chunks));
        const { terms, lengths } = expected(chunks);
        expect(contents(segment)).toEqual({ terms, lengths });
        expect(segment.totalLength).toBe(chunks.reduce((sum, { terms: { length } }) => sum + length, 0));
        for (const term of [...Object.keys(terms), other]) {
          const found = segment.postings(term);
          const pairs = found && Object.fromEntries(Array.from(found.chunks, (local, i) => [segment.chunkIds[local], found.frequencies[i]]));
          expect(pairs).toEqual(terms[term]);
        }
      }),
    );
  });

  test("finds each of many terms and none between them", () => {
    const terms = Array.from({ length: 5_000 }, (_, n) => `term${n * 2}`);
    const segment = new Segment(buildSegment([{ chunkId: 7, terms }]));
    for (let n = 0; n < 10_000; n++) expect(segment.postings(`term${n}`) !== undefined).toBe(n % 2 === 0);
    expect(segment.postings("a")).toBeUndefined();
    expect(segment.postings("z")).toBeUndefined();
    expect(segment.postings("")).toBeUndefined();
  });

  test("holds lengths, frequencies and gaps beyond 16 bits", () => {
    const long = { chunkId: 70_000, terms: Array.from({ length: 70_001 }, () => "oil") };
    const chunks = [...Array.from({ length: 70_000 }, (_, chunkId) => ({ chunkId, terms: chunkId === 0 ? ["oil"] : [] })), long];
    const segment = new Segment(buildSegment(chunks));
    expect(segment.lengths[70_000]).toBe(70_001);
    expect(segment.postings("oil")).toEqual({ chunks: Uint32Array.of(0, 70_000), frequencies: Uint32Array.of(1, 70_001) });
  });

  test("a term's postings can be read with the header, the term index and one block", () => {
    const terms = Array.from({ length: 1_000 }, (_, n) => `term${n}`);
    const bytes = buildSegment([{ chunkId: 1, terms }, { chunkId: 2, terms: ["term77", "term77"] }]);
    const header = decodeHeader(bytes.subarray(0, HEADER_BYTES), bytes.length);
    const index = decodeTermIndex(bytes.subarray(header.index.start, header.index.end), header);
    const block = blockOfTerm(index, "term77");
    const { start } = header.dictionary;
    const piece = bytes.slice(start + index.dictionary[block]!, start + index.dictionary[block + 1]!);
    const entry = findInBlock(piece, 0, piece.length, index.postings[block]!, "term77")!;
    const postings = bytes.slice(header.postings.start + entry.start, header.postings.start + entry.end);
    expect(decodePostings(postings, 0, postings.length, entry.documentFrequency, header.chunkCount)).toEqual({
      chunks: Uint32Array.of(0, 1),
      frequencies: Uint32Array.of(1, 2),
    });
    expect(piece.length).toBeLessThan(1_000);
  });

  test.each([[[1, 1]], [[-1]], [[1.5]], [[NaN]], [[2 ** 53]]])("refuses the chunk ids %j", (ids) => {
    expect(() => buildSegment(ids.map((chunkId) => ({ chunkId, terms: [] })))).toThrow(RangeError);
  });
});

describe("damaged bytes", () => {
  const bytes = buildSegment(Array.from({ length: 50 }, (_, chunkId) => ({ chunkId, terms: [`a${chunkId}`, "b", "b"] })));

  test("are refused wherever a byte was changed", () => {
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice();
      damaged[at]! ^= 0x41;
      expect(() => new Segment(damaged)).toThrow(/build the (collection's )?index anew/);
    }
  });

  test("are refused wherever they were cut off", () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(() => new Segment(bytes.slice(0, length))).toThrow(expect.objectContaining({ kind: "CORRUPT" }));
    }
  });

  test("of a later version are refused as such", () => {
    const later = bytes.slice();
    later[4] = 2;
    expect(() => new Segment(later)).toThrow(expect.objectContaining({ kind: "UNKNOWN_VERSION" }));
  });
});

describe("a merge", () => {
  test("gives the bytes of a segment built of the live chunks at once", () => {
    fc.assert(
      fc.property(chunkLists, fc.infiniteStream(fc.nat({ max: 3 })), fc.infiniteStream(fc.boolean()), (chunks, places, deletions) => {
        const groups: ChunkTerms[][] = [[], [], [], []];
        for (const chunk of chunks) groups[places.next().value!]!.push(chunk);
        const live: ChunkTerms[] = [];
        const inputs = groups.map((group) => {
          const segment = new Segment(buildSegment(group));
          const sorted = group.toSorted((a, b) => a.chunkId - b.chunkId);
          const deleted = sorted.flatMap((_, local) => (deletions.next().value! ? [local] : []));
          live.push(...sorted.filter((_, local) => !deleted.includes(local)));
          return { segment, deleted: Tombstones.none(group.length).with(deleted) };
        });
        expect(Buffer.from(mergeSegments(inputs))).toEqual(Buffer.from(buildSegment(live)));
      }),
    );
  });

  test("of nothing is an empty segment", () => {
    expect(new Segment(mergeSegments([])).chunkIds).toHaveLength(0);
  });

  test("refuses a chunk that lives in two segments", () => {
    const segment = new Segment(buildSegment([{ chunkId: 1, terms: ["a"] }]));
    expect(() => mergeSegments([{ segment }, { segment }])).toThrow(/chunk 1 is in two segments/);
  });
});
