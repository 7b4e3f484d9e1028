import { isAscii } from "node:buffer";
import { hash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Contents, ContentsSchema, type Value, ValueSchema } from "../../gen/ragents/checkpoint/v1/checkpoint_pb.js";
import { decode, encode } from "./codec.js";
import { isUnchanged, type Trace, traceOf } from "./trace.js";

/** Bytes of a segment's hash: half a SHA-256. */
const HASH_BYTES = 16;
/** What is smaller is not worth a segment of its own: elements are gathered until they have so many bytes. */
const MIN_SEGMENT_BYTES = 256;
/** The service takes no larger ones. */
const MAX_SEGMENT_BYTES = 1024 * 1024;
/** Larger groups of elements are encoded anew each time rather than kept. */
const MAX_KEPT_BYTES = 64 * 1024;

const JSON_TEXT = "json";
const JSON_LINES = "jsonl";
const BYTES = "bytes";

const LINE_END = 0x0a;
const COMMA = 0x2c;

/** Segments by their hash as text. */
export type Segments = Map<string, Uint8Array>;

/** Elements of a list that became one segment. */
interface Group {
  readonly elements: readonly unknown[];
  readonly traces: readonly Trace[];
  readonly key: string;
  readonly bytes: Uint8Array;
}

/**
 * Cuts values into segments. A list is cut at its elements, so that a list with
 * one more shares all segments but those at its end; elements that did not
 * change since they were cut last are not encoded again.
 */
export class ValueCutter {
  /** By their first element; the bytes live as long as that does. */
  readonly #groups = new WeakMap<object, Group>();

  /** The value as it travels; its segments are added to `segments`. Throws TypeError when it cannot be encoded. */
  cut(value: unknown, segments: Segments): Value {
    if (Array.isArray(value)) return this.#cutList(value, segments);
    const isBytes = value instanceof Uint8Array;
    // A copy of bytes: whoever owns them may write into them before they have gone out.
    const bytes = Buffer.from(isBytes ? value : encode(value));
    const encoding = isBytes ? BYTES : JSON_TEXT;
    if (bytes.length < MIN_SEGMENT_BYTES) return create(ValueSchema, { encoding, tail: bytes });
    return create(ValueSchema, { encoding, segments: toHashes(split(bytes, segments)) });
  }

  #cutList(list: readonly unknown[], segments: Segments): Value {
    const keys: string[] = [];
    let gathered: Buffer[] = [];
    let bytes = 0;
    let start = 0;
    for (let i = 0; i < list.length; i += 1) {
      const known = gathered.length === 0 ? this.#groupAt(list, i) : undefined;
      if (known !== undefined) {
        segments.set(known.key, known.bytes);
        keys.push(known.key);
        i += known.elements.length - 1;
        continue;
      }
      if (gathered.length === 0) start = i;
      const line = Buffer.from(`${encode(list[i])}\n`);
      gathered.push(line);
      bytes += line.length;
      if (bytes < MIN_SEGMENT_BYTES) continue;
      const whole = gathered.length === 1 ? line : Buffer.concat(gathered);
      const added = split(whole, segments);
      keys.push(...added);
      if (added.length === 1 && bytes <= MAX_KEPT_BYTES) this.#keep(list.slice(start, i + 1), added[0] as string, whole);
      gathered = [];
      bytes = 0;
    }
    return create(ValueSchema, { encoding: JSON_LINES, segments: toHashes(keys), tail: Buffer.concat(gathered) });
  }

  /** The group that begins at a place of the list, if all of it is there and unchanged. */
  #groupAt(list: readonly unknown[], at: number): Group | undefined {
    const first = list[at];
    const group = typeof first === "object" && first !== null ? this.#groups.get(first) : undefined;
    if (group === undefined) return undefined;
    const same = group.elements.every((element, i) => list[at + i] === element && isUnchanged(element, group.traces[i] as Trace));
    return same ? group : undefined;
  }

  #keep(elements: readonly unknown[], key: string, bytes: Uint8Array): void {
    const first = elements[0];
    if (typeof first !== "object" || first === null) return;
    const traces: Trace[] = [];
    for (const element of elements) {
      const trace = traceOf(element);
      if (trace === undefined) return;
      traces.push(trace);
    }
    this.#groups.set(first, { elements, traces, key, bytes });
  }
}

/** The value that was cut. Throws when a segment is not in `segments` or the encoding is not one of ours. */
export function joinValue(value: Value, segments: ReadonlyMap<string, Uint8Array>): unknown {
  const parts: Uint8Array[] = [];
  for (const key of toKeys(value.segments)) {
    const part = segments.get(key);
    if (part === undefined) throw new Error("the answer names a segment that it does not contain");
    parts.push(part);
  }
  parts.push(value.tail);
  const bytes = Buffer.concat(parts);
  switch (value.encoding) {
    case BYTES:
      return new Uint8Array(bytes);
    case JSON_TEXT:
      return decode(textOf(bytes));
    case JSON_LINES:
      return decode(`[${textOf(withCommas(bytes))}]`);
    default:
      throw new Error(`a value is encoded as "${value.encoding}", which this client does not read`);
  }
}

/** Lines as the elements of a list, in place: JSON's own line breaks are written as \\n. */
function withCommas(lines: Buffer): Buffer {
  const last = lines.length - 1;
  for (let at = lines.indexOf(LINE_END); at >= 0 && at < last; at = lines.indexOf(LINE_END, at + 1)) lines[at] = COMMA;
  return lines.subarray(0, Math.max(0, last));
}

/** Text from UTF-8; most of it is ASCII, which is read several times as fast. */
function textOf(bytes: Buffer): string {
  return bytes.toString(isAscii(bytes) ? "latin1" : "utf8");
}

/** Segments as they travel, in messages of at most `maxBytes` of segments. */
export function* toContents(segments: Iterable<readonly [string, Uint8Array]>, maxBytes: number): Generator<Contents> {
  let keys: string[] = [];
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for (const [key, data] of segments) {
    if (bytes > 0 && bytes + data.length > maxBytes) {
      yield contentsOf(keys, parts);
      keys = [];
      parts = [];
      bytes = 0;
    }
    keys.push(key);
    parts.push(data);
    bytes += data.length;
  }
  if (keys.length > 0) yield contentsOf(keys, parts);
}

/** Adds segments that arrived; answers their keys. */
export function addContents(contents: Contents | undefined, segments: Segments): string[] {
  if (contents === undefined) return [];
  const keys = toKeys(contents.hashes);
  let at = 0;
  keys.forEach((key, i) => {
    const size = contents.sizes[i] ?? 0;
    segments.set(key, contents.data.subarray(at, at + size));
    at += size;
  });
  return keys;
}

function contentsOf(keys: readonly string[], parts: readonly Uint8Array[]): Contents {
  return create(ContentsSchema, { hashes: toHashes(keys), sizes: parts.map(({ length }) => length), data: Buffer.concat(parts) });
}

/** Adds a segment, or several where it is too large for one; answers their keys. */
function split(bytes: Uint8Array, segments: Segments): string[] {
  const keys: string[] = [];
  for (let at = 0; at < bytes.length; at += MAX_SEGMENT_BYTES) {
    const segment = bytes.subarray(at, at + MAX_SEGMENT_BYTES);
    const key = hash("sha256", segment, "buffer").toString("latin1", 0, HASH_BYTES);
    segments.set(key, segment);
    keys.push(key);
  }
  return keys;
}

/** Keys as they travel. */
export function toHashes(keys: readonly string[]): Buffer {
  return Buffer.from(keys.join(""), "latin1");
}

/** Hashes that stand one after the other, as keys. */
export function toKeys(hashes: Uint8Array): string[] {
  const text = Buffer.from(hashes.buffer, hashes.byteOffset, hashes.byteLength).toString("latin1");
  return Array.from({ length: text.length / HASH_BYTES }, (_, i) => text.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES));
}
