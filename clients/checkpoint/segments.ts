import { hash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "../../gen/ragents/checkpoint/v1/checkpoint_pb.js";
import { decode, encode } from "./codec.js";

/** Bytes of a segment's hash: half a SHA-256. */
const HASH_BYTES = 16;
/** What is smaller is not worth a segment of its own: elements are gathered until they have so many bytes. */
const MIN_SEGMENT_BYTES = 256;
/** The service takes no larger ones. */
const MAX_SEGMENT_BYTES = 1024 * 1024;

const JSON_TEXT = "json";
const JSON_LINES = "jsonl";
const BYTES = "bytes";

/** Segments by their hash as text. */
export type Segments = Map<string, Uint8Array>;

/**
 * The value as it travels; its segments are added to `segments`. A list is cut
 * at its elements, so that a list with one more shares all segments but those
 * at its end.
 */
export function cutValue(value: unknown, segments: Segments): Value {
  if (value instanceof Uint8Array) return cut(BYTES, [value], segments);
  if (Array.isArray(value)) return cut(JSON_LINES, Array.from(value, (element) => Buffer.from(`${encode(element)}\n`)), segments);
  return cut(JSON_TEXT, [Buffer.from(encode(value))], segments);
}

/** The value that `cutValue` cut. Throws when a segment is not in `segments` or the encoding is not one of ours. */
export function joinValue(value: Value, segments: ReadonlyMap<string, Uint8Array>): unknown {
  const parts: Uint8Array[] = [];
  for (const key of segmentKeys(value)) {
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
      return decode(bytes.toString());
    case JSON_LINES:
      return decode(`[${bytes.toString("utf8", 0, Math.max(0, bytes.length - 1)).replaceAll("\n", ",")}]`);
    default:
      throw new Error(`a value is encoded as "${value.encoding}", which this client does not read`);
  }
}

/** A hash as the key of a Map. */
export function segmentKey(hash: Uint8Array): string {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).toString("latin1");
}

/** The hash of a key. */
export function segmentHash(key: string): Buffer {
  return Buffer.from(key, "latin1");
}

/** The keys of a value's segments, in order. */
export function segmentKeys(value: Value): string[] {
  const keys: string[] = [];
  for (let at = 0; at < value.segments.length; at += HASH_BYTES) keys.push(segmentKey(value.segments.subarray(at, at + HASH_BYTES)));
  return keys;
}

function cut(encoding: string, parts: readonly Uint8Array[], segments: Segments): Value {
  const hashes: Buffer[] = [];
  let gathered: Uint8Array[] = [];
  let bytes = 0;
  for (const part of parts) {
    gathered.push(part);
    bytes += part.length;
    if (bytes < MIN_SEGMENT_BYTES) continue;
    const whole = gathered.length === 1 ? part : Buffer.concat(gathered);
    for (let at = 0; at < whole.length; at += MAX_SEGMENT_BYTES) {
      const segment = whole.subarray(at, at + MAX_SEGMENT_BYTES);
      const name = hash("sha256", segment, "buffer").subarray(0, HASH_BYTES);
      segments.set(segmentKey(name), segment);
      hashes.push(name);
    }
    gathered = [];
    bytes = 0;
  }
  return create(ValueSchema, { encoding, segments: Buffer.concat(hashes), tail: Buffer.concat(gathered) });
}
