import {
  blockOfTerm,
  type ChunkTable,
  decodeChunkTable,
  decodeDictionary,
  decodeHeader,
  decodePostings,
  decodeTermIndex,
  encodeSegment,
  findInBlock,
  HEADER_BYTES,
  type Postings,
  type SegmentHeader,
  type TermEntry,
  type TermIndex,
  type TermPostings,
  verifyChecksum,
} from "./segment-format.js";
import { Tombstones } from "./tombstones.js";

/** What BM25 asks of a segment; one that holds only a question's terms answers it as well as a whole one. */
export interface LexicalSegment extends ChunkTable {
  /** The sum of all lengths, in terms. */
  readonly totalLength: number;
  /** Where a term occurs, deleted chunks included; undefined when it does not. */
  postings(term: string): Postings | undefined;
}

export interface ChunkTerms {
  /** A whole number from 0 to 2^53 - 1. */
  chunkId: number;
  /** In the order of the text, as often as they occur. */
  terms: readonly string[];
}

/**
 * The bytes of a segment of these chunks, in whatever order they come.
 * @throws RangeError when an id occurs twice or is no whole number.
 */
export function buildSegment(chunks: readonly ChunkTerms[]): Uint8Array {
  const sorted = chunks.toSorted((a, b) => a.chunkId - b.chunkId);
  sorted.forEach(({ chunkId }, i) => {
    if (!Number.isSafeInteger(chunkId) || chunkId < 0) throw new RangeError(`The chunk id ${chunkId} is no whole number.`);
    if (chunkId === sorted[i - 1]?.chunkId) throw new RangeError(`The chunk id ${chunkId} occurs twice.`);
  });
  const postings = new Map<string, { chunks: number[]; frequencies: number[] }>();
  sorted.forEach(({ terms }, local) => {
    for (const term of terms) {
      let list = postings.get(term);
      if (list === undefined) postings.set(term, (list = { chunks: [], frequencies: [] }));
      const last = list.chunks.length - 1;
      if (list.chunks[last] === local) {
        list.frequencies[last]!++;
      } else {
        list.chunks.push(local);
        list.frequencies.push(1);
      }
    }
  });
  function* inOrder(): Generator<TermPostings> {
    for (const term of [...postings.keys()].sort()) yield { term, ...postings.get(term)! };
  }
  const table = {
    chunkIds: Float64Array.from(sorted, ({ chunkId }) => chunkId),
    lengths: Uint32Array.from(sorted, ({ terms }) => terms.length),
  };
  return encodeSegment(table, inOrder());
}

/** A segment's bytes, ready for questions: ids, lengths and the term index are decoded, dictionary and postings stay as they are. */
export class Segment implements LexicalSegment {
  readonly chunkIds: Float64Array;
  readonly lengths: Uint32Array;
  readonly totalLength: number;
  readonly #bytes: Uint8Array;
  readonly #header: SegmentHeader;
  readonly #index: TermIndex;

  /** Keeps the bytes: pass a copy when they are part of a larger buffer. @throws IndexFormatError */
  constructor(bytes: Uint8Array) {
    const header = decodeHeader(bytes.subarray(0, HEADER_BYTES), bytes.length);
    verifyChecksum(bytes, header);
    const table = decodeChunkTable(bytes.subarray(header.chunks.start, header.chunks.end), header.chunkCount);
    this.chunkIds = table.chunkIds;
    this.lengths = table.lengths;
    this.totalLength = table.lengths.reduce((sum, length) => sum + length, 0);
    this.#bytes = bytes;
    this.#header = header;
    this.#index = decodeTermIndex(bytes.subarray(header.index.start, header.index.end), header);
  }

  /** Bytes of memory that the segment takes, about. */
  get byteLength(): number {
    return this.#bytes.length + 12 * this.chunkIds.length + 64 * this.#index.firstTerms.length;
  }

  postings(term: string): Postings | undefined {
    const block = blockOfTerm(this.#index, term);
    if (block < 0) return undefined;
    const { dictionary, postings } = this.#index;
    const base = this.#header.dictionary.start;
    const entry = findInBlock(this.#bytes, base + dictionary[block]!, base + dictionary[block + 1]!, postings[block]!, term);
    return entry && this.#decode(entry);
  }

  /** Every term with its postings, in the order of the dictionary. */
  *terms(): Generator<TermPostings> {
    const { start, end } = this.#header.dictionary;
    for (const entry of decodeDictionary(this.#bytes.subarray(start, end))) yield { term: entry.term, ...this.#decode(entry) };
  }

  #decode({ start, end, documentFrequency }: TermEntry): Postings {
    const base = this.#header.postings.start;
    return decodePostings(this.#bytes, base + start, base + end, documentFrequency, this.#header.chunkCount);
  }
}

export interface LexicalPart {
  segment: LexicalSegment;
  /** Local numbers of the segment's chunks that are no longer there. */
  deleted?: Tombstones | undefined;
}

/** The position of an id in ascending ids, or -1. */
export function positionOf(ids: Float64Array, id: number): number {
  let low = 0;
  let high = ids.length - 1;
  if (high < 0 || id < ids[0]! || id > ids[high]!) return -1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ids[middle]! < id) low = middle + 1;
    else high = middle;
  }
  return ids[low] === id ? low : -1;
}
