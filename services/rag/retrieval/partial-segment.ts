import type { LexicalSegment } from "../index/segment.js";
import {
  blockOfTerm,
  type ChunkTable,
  decodeChunkTable,
  decodeHeader,
  decodePostings,
  decodeTermIndex,
  findInBlock,
  HEADER_BYTES,
  type Postings,
  type SegmentHeader,
  type TermIndex,
} from "../index/segment-format.js";
import type { IndexStore, SegmentRange } from "../store/store.js";
import { SegmentGoneError } from "./search-index.js";

/** What is held of a segment whose dictionary and postings stay in the store. */
export interface SegmentSkeleton extends ChunkTable {
  readonly id: number;
  readonly header: SegmentHeader;
  readonly index: TermIndex;
  /** The sum of all lengths, in terms. */
  readonly totalLength: number;
  /** Bytes of memory, about. */
  readonly byteLength: number;
}

/** Reads a segment's skeleton; `bytes` is the length of all of it. Rejects with SegmentGoneError when it was merged away. */
export async function readSkeleton(store: IndexStore, collection: number, id: number, bytes: number): Promise<SegmentSkeleton> {
  const [start] = await readAll(store, collection, [{ segment: id, start: 0, end: HEADER_BYTES }]);
  const header = decodeHeader(start!, bytes);
  const [table, terms] = await readAll(store, collection, [
    { segment: id, ...header.chunks },
    { segment: id, ...header.index },
  ]);
  const { chunkIds, lengths } = decodeChunkTable(table!, header.chunkCount);
  const index = decodeTermIndex(terms!, header);
  const totalLength = lengths.reduce((sum, length) => sum + length, 0);
  return { id, header, index, chunkIds, lengths, totalLength, byteLength: 12 * chunkIds.length + 64 * index.firstTerms.length };
}

/** The segments as a question of these terms sees them: two round trips, whatever their number. */
export async function readPartialSegments(
  store: IndexStore,
  collection: number,
  skeletons: readonly SegmentSkeleton[],
  terms: readonly string[],
): Promise<LexicalSegment[]> {
  const postings = skeletons.map(() => new Map<string, Postings>());
  const blocks = skeletons.flatMap((skeleton, segment) => terms.flatMap((term) => blockRange(skeleton, segment, term)));
  const dictionaries = await readAll(store, collection, blocks.map(({ range }) => range));
  const entries = blocks.flatMap(({ segment, term, postingsStart }, i) => {
    const bytes = dictionaries[i]!;
    const entry = findInBlock(bytes, 0, bytes.length, postingsStart, term);
    if (entry === undefined) return [];
    const { id, header } = skeletons[segment]!;
    const range = { segment: id, start: header.postings.start + entry.start, end: header.postings.start + entry.end };
    return [{ segment, term, range, count: entry.documentFrequency }];
  });
  const lists = await readAll(store, collection, entries.map(({ range }) => range));
  entries.forEach(({ segment, term, count }, i) => {
    const bytes = lists[i]!;
    postings[segment]!.set(term, decodePostings(bytes, 0, bytes.length, count, skeletons[segment]!.header.chunkCount));
  });
  return skeletons.map(({ chunkIds, lengths, totalLength }, i) => ({ chunkIds, lengths, totalLength, postings: (term) => postings[i]!.get(term) }));
}

/** Where the block of the dictionary lies that holds the term if the segment does. */
function blockRange({ id, header, index }: SegmentSkeleton, segment: number, term: string) {
  const block = blockOfTerm(index, term);
  if (block < 0) return [];
  const { start } = header.dictionary;
  const range = { segment: id, start: start + index.dictionary[block]!, end: start + index.dictionary[block + 1]! };
  return [{ segment, term, range, postingsStart: index.postings[block]! }];
}

async function readAll(store: IndexStore, collection: number, ranges: readonly SegmentRange[]): Promise<Uint8Array[]> {
  if (ranges.length === 0) return [];
  const read = await store.readSegmentRanges(collection, ranges);
  return read.map((bytes, i) => {
    if (bytes === undefined || bytes.length !== ranges[i]!.end - ranges[i]!.start) throw new SegmentGoneError();
    return bytes;
  });
}
