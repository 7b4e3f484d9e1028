/**
 * How a segment lies in its bytes. All of it can be read at once, or only what a question needs: the header, the chunk table
 * and the term index (small), then one block of the dictionary and one run of postings a term.
 *
 *   header      magic, version, chunk count, term count, byte lengths of the first three sections, checksum of all else
 *   chunks      ids ascending, as differences; then lengths in terms
 *   index       per block of terms: the first term, where the block and its postings start
 *   dictionary  blocks of terms in the order of UTF-16 code units, each: shared prefix, rest, document frequency, postings bytes
 *   postings    per term: differences of local chunk numbers, with the term's frequency where it is above one
 *
 * Local chunk numbers count a segment's chunks in the order of their ids, from 0.
 */
import { crc32 } from "node:zlib";
import { ByteReader, ByteWriter, corrupt, IndexFormatError } from "./bytes.js";

const MAGIC = 0x53_47_41_52; // "RAGS"
const VERSION = 1;
export const HEADER_BYTES = 32;
/** Few enough to scan in a microsecond, many enough to keep the index small. */
export const TERMS_PER_BLOCK = 32;

/** Offsets count from the segment's first byte. */
export interface Section {
  start: number;
  end: number;
}

export interface SegmentHeader {
  chunkCount: number;
  termCount: number;
  checksum: number;
  chunks: Section;
  index: Section;
  dictionary: Section;
  postings: Section;
}

export interface ChunkTable {
  /** Ascending. */
  chunkIds: Float64Array;
  /** In terms. */
  lengths: Uint32Array;
}

export interface TermIndex {
  firstTerms: readonly string[];
  /** Offsets inside the dictionary and the postings; one more than there are blocks, the last being the section's length. */
  dictionary: Uint32Array;
  postings: Uint32Array;
}

/** Where a term's postings lie, counted from the start of the postings section. */
export interface TermEntry {
  documentFrequency: number;
  start: number;
  end: number;
}

/** Where a term occurs: local chunk numbers ascending, and how often in each. */
export interface Postings {
  chunks: ArrayLike<number>;
  frequencies: ArrayLike<number>;
}

export interface TermPostings extends Postings {
  term: string;
}

/**
 * Writes a segment. `terms` comes in ascending order of UTF-16 code units, each with at least one posting.
 */
export function encodeSegment({ chunkIds, lengths }: ChunkTable, terms: Iterable<TermPostings>): Uint8Array {
  const chunks = encodeChunkTable(chunkIds, lengths);
  const index = new ByteWriter();
  const dictionary = new ByteWriter();
  const postings = new ByteWriter();
  let termCount = 0;
  let previous: Uint8Array = new Uint8Array();
  for (const { term, chunks: locals, frequencies } of terms) {
    const encoded = Buffer.from(term);
    if (termCount % TERMS_PER_BLOCK === 0) {
      index.varint(encoded.length);
      index.bytes(encoded);
      index.varint(dictionary.length);
      index.varint(postings.length);
      previous = new Uint8Array();
    }
    const start = postings.length;
    encodePostings(postings, locals, frequencies);
    const shared = sharedPrefix(previous, encoded);
    dictionary.varint(shared);
    dictionary.varint(encoded.length - shared);
    dictionary.bytes(encoded.subarray(shared));
    dictionary.varint(locals.length);
    dictionary.varint(postings.length - start);
    previous = encoded;
    termCount++;
  }
  const sections = [chunks, index.finish(), dictionary.finish(), postings.finish()];
  const body = Buffer.concat(sections);
  const header = new ByteWriter();
  header.u32(MAGIC);
  header.u32(VERSION);
  header.u32(chunkIds.length);
  header.u32(termCount);
  for (const section of sections.slice(0, 3)) header.u32(section.length);
  header.u32(crc32(body, crc32(header.finish())));
  // No Buffer: its slice() would share memory with what it was cut from.
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  bytes.set(header.finish());
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

/** @param total the byte length of the whole segment. */
export function decodeHeader(bytes: Uint8Array, total: number): SegmentHeader {
  const reader = new ByteReader(bytes, 0, HEADER_BYTES);
  if (bytes.length < HEADER_BYTES || reader.u32() !== MAGIC) corrupt("The bytes are no index segment");
  const version = reader.u32();
  if (version !== VERSION) {
    throw new IndexFormatError(
      "UNKNOWN_VERSION",
      `The index segment has version ${version}, this program reads ${VERSION}; use the program that wrote it, or build the index anew.`,
    );
  }
  const chunkCount = reader.u32();
  const termCount = reader.u32();
  let at = HEADER_BYTES;
  const section = (length: number) => ({ start: at, end: (at += length) });
  const chunks = section(reader.u32());
  const index = section(reader.u32());
  const dictionary = section(reader.u32());
  const postings = { start: at, end: total };
  if (at > total) corrupt(`An index segment of ${total} bytes has lost its end`);
  return { chunkCount, termCount, checksum: reader.u32(), chunks, index, dictionary, postings };
}

/** @throws IndexFormatError when the segment's bytes are not those that were written. */
export function verifyChecksum(bytes: Uint8Array, header: SegmentHeader): void {
  const checksum = crc32(bytes.subarray(HEADER_BYTES), crc32(bytes.subarray(0, HEADER_BYTES - 4)));
  if (checksum !== header.checksum) corrupt("An index segment's checksum is wrong");
}

function encodeChunkTable(chunkIds: Float64Array, lengths: Uint32Array): Uint8Array {
  const writer = new ByteWriter();
  encodeAscending(writer, chunkIds);
  for (const length of lengths) writer.varint(length);
  return writer.finish();
}

/** @param bytes the chunks section. */
export function decodeChunkTable(bytes: Uint8Array, chunkCount: number): ChunkTable {
  // Two bytes a chunk at least: a damaged count does not make us ask for memory that the bytes cannot fill.
  if (chunkCount * 2 > bytes.length) corrupt("A chunk table is shorter than its chunks");
  const reader = new ByteReader(bytes);
  const chunkIds = decodeAscending(reader, chunkCount);
  const lengths = new Uint32Array(chunkCount);
  for (let i = 0; i < chunkCount; i++) lengths[i] = reader.varint();
  if (!reader.done) corrupt("A chunk table is longer than its chunks");
  return { chunkIds, lengths };
}

/** Writes ascending whole numbers as differences. */
export function encodeAscending(writer: ByteWriter, numbers: Float64Array): void {
  numbers.forEach((number, i) => writer.varint(i === 0 ? number : number - numbers[i - 1]!));
}

export function decodeAscending(reader: ByteReader, count: number): Float64Array {
  const numbers = new Float64Array(count);
  for (let i = 0, last = 0; i < count; i++) numbers[i] = last += reader.varint();
  return numbers;
}

/** @param bytes the index section. */
export function decodeTermIndex(bytes: Uint8Array, header: SegmentHeader): TermIndex {
  const reader = new ByteReader(bytes);
  const firstTerms: string[] = [];
  const dictionary: number[] = [];
  const postings: number[] = [];
  while (!reader.done) {
    const term = reader.bytes(reader.varint());
    firstTerms.push(Buffer.from(term.buffer, term.byteOffset, term.length).toString());
    dictionary.push(reader.varint());
    postings.push(reader.varint());
  }
  if (firstTerms.length !== Math.ceil(header.termCount / TERMS_PER_BLOCK)) corrupt("A term index does not have its blocks");
  dictionary.push(header.dictionary.end - header.dictionary.start);
  postings.push(header.postings.end - header.postings.start);
  return { firstTerms, dictionary: Uint32Array.from(dictionary), postings: Uint32Array.from(postings) };
}

/** The number of the block that a term is in if it is anywhere; -1 when it comes before all of them. */
export function blockOfTerm(index: TermIndex, term: string): number {
  let low = 0;
  let high = index.firstTerms.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (index.firstTerms[middle]! <= term) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Finds a term in its block. @param bytes holds the dictionary; the block starts at `start` and ends at `end`. */
export function findInBlock(bytes: Uint8Array, start: number, end: number, postingsStart: number, term: string): TermEntry | undefined {
  const wanted = Buffer.from(term);
  const reader = new ByteReader(bytes, start, end);
  let postings = postingsStart;
  // How much of the wanted term the entry before begins with.
  let matched = 0;
  while (!reader.done) {
    const shared = reader.varint();
    const rest = reader.bytes(reader.varint());
    const documentFrequency = reader.varint();
    const length = reader.varint();
    if (shared <= matched) {
      matched = shared + sharedPrefix(rest, wanted.subarray(shared));
      if (matched === wanted.length && shared + rest.length === wanted.length) {
        return { documentFrequency, start: postings, end: postings + length };
      }
    }
    postings += length;
  }
  return undefined;
}

/** Every term of a dictionary in its order. @param bytes the dictionary section. */
export function* decodeDictionary(bytes: Uint8Array): Generator<TermEntry & { term: string }> {
  const reader = new ByteReader(bytes);
  let current = Buffer.alloc(256);
  let postings = 0;
  while (!reader.done) {
    const shared = reader.varint();
    const rest = reader.bytes(reader.varint());
    if (shared > current.length) corrupt("A term shares more than there is");
    if (shared + rest.length > current.length) current = Buffer.concat([current], 2 * (shared + rest.length));
    current.set(rest, shared);
    const documentFrequency = reader.varint();
    const length = reader.varint();
    yield { term: current.toString("utf8", 0, shared + rest.length), documentFrequency, start: postings, end: postings + length };
    postings += length;
  }
}

function encodePostings(writer: ByteWriter, chunks: ArrayLike<number>, frequencies: ArrayLike<number>): void {
  let last = -1;
  for (let i = 0; i < chunks.length; i++) {
    const gap = chunks[i]! - last - 1;
    const frequency = frequencies[i]!;
    writer.varint(2 * gap + (frequency > 1 ? 1 : 0));
    if (frequency > 1) writer.varint(frequency);
    last = chunks[i]!;
  }
}

/** @param bytes holds the postings, from `start` to `end`; local chunk numbers are below `chunkCount`. */
export function decodePostings(bytes: Uint8Array, start: number, end: number, count: number, chunkCount: number): Postings {
  if (count > end - start) corrupt("A term's postings are shorter than its document frequency");
  const chunks = new Uint32Array(count);
  const frequencies = new Uint32Array(count);
  let at = start;
  let chunk = -1;
  for (let i = 0; i < count; i++) {
    // Whole numbers of 32 bits throughout: twice as fast as numbers that may be larger, and local numbers are smaller.
    let byte = bytes[at++]!;
    let value = byte & 0x7f;
    for (let shift = 7; byte >= 0x80 && shift < 35; shift += 7) {
      byte = bytes[at++]!;
      value |= (byte & 0x7f) << shift;
    }
    chunk += (value >>> 1) + 1;
    let frequency = 1;
    if ((value & 1) === 1) {
      byte = bytes[at++]!;
      frequency = byte & 0x7f;
      for (let shift = 7; byte >= 0x80 && shift < 35; shift += 7) {
        byte = bytes[at++]!;
        frequency |= (byte & 0x7f) << shift;
      }
    }
    chunks[i] = chunk;
    frequencies[i] = frequency;
  }
  // Read without bounds for speed: bytes beyond the end read as nothing, and show here.
  if (at !== end || chunk >= chunkCount) corrupt("A term's postings are damaged");
  return { chunks, frequencies };
}

function sharedPrefix(a: Uint8Array, b: Uint8Array): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}
