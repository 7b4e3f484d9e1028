import { type JsonValue, ScalarType } from "@bufbuild/protobuf";
import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { InvalidValue } from "./violations.js";

/** Encodes a scalar: 64-bit integers as numbers while these are exact, bytes as base64, NaN and infinity as strings. */
export function scalarToJson(type: ScalarType, value: unknown): JsonValue {
  switch (typeof value) {
    case "bigint": {
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : value.toString();
    }
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "string":
      return isLong(type) ? scalarToJson(type, BigInt(value)) : value;
    case "boolean":
      return value;
    default:
      return base64Encode(value as Uint8Array);
  }
}

/** Decodes a scalar from JSON, numbers also from strings, to protobuf-es' form. Throws InvalidValue. */
export function scalarFromJson(type: ScalarType, json: JsonValue, longAsString = false): unknown {
  switch (type) {
    case ScalarType.STRING:
      return wellFormed(expectString(json, "a string"));
    case ScalarType.BOOL:
      if (typeof json !== "boolean") throw unexpected("true or false", json);
      return json;
    case ScalarType.BYTES:
      return bytesFromJson(expectString(json, "a base64 string"));
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return floatFromJson(type, json);
    default: {
      const value = integerFromJson(json, integerRanges[type]);
      if (!isLong(type)) return Number(value);
      return longAsString ? value.toString() : value;
    }
  }
}

/** Decodes a scalar from the text of a query parameter, path variable or form field. Throws InvalidValue. */
export function scalarFromText(type: ScalarType, text: string, longAsString = false): unknown {
  if (type !== ScalarType.BOOL) return scalarFromJson(type, text, longAsString);
  if (text === "true") return true;
  if (text === "false") return false;
  throw new InvalidValue(`must be true or false, not "${abridged(text)}"`);
}

/** The error for JSON of the wrong type. */
export function unexpected(expected: string, json: JsonValue): InvalidValue {
  return new InvalidValue(`must be ${expected}, not ${describe(json)}`);
}

/** The text itself. Throws InvalidValue when it holds half of a surrogate pair, which UTF-8 cannot carry. */
export function wellFormed(text: string): string {
  if (/\p{Surrogate}/u.test(text))
    throw new InvalidValue("must be valid Unicode: it contains half of a surrogate pair");
  return text;
}

/** A text short enough to stand in an error message. */
export function abridged(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}

type Range = readonly [min: bigint, max: bigint];
const int32: Range = [-(2n ** 31n), 2n ** 31n - 1n];
const uint32: Range = [0n, 2n ** 32n - 1n];
const int64: Range = [-(2n ** 63n), 2n ** 63n - 1n];
const uint64: Range = [0n, 2n ** 64n - 1n];

/** The smallest and largest value of each integer type. */
export const integerRanges = {
  [ScalarType.INT32]: int32,
  [ScalarType.SINT32]: int32,
  [ScalarType.SFIXED32]: int32,
  [ScalarType.UINT32]: uint32,
  [ScalarType.FIXED32]: uint32,
  [ScalarType.INT64]: int64,
  [ScalarType.SINT64]: int64,
  [ScalarType.SFIXED64]: int64,
  [ScalarType.UINT64]: uint64,
  [ScalarType.FIXED64]: uint64,
} as const;

function isLong(type: ScalarType): boolean {
  return type in integerRanges && integerRanges[type as keyof typeof integerRanges][1] > uint32[1];
}

function integerFromJson(json: JsonValue, [min, max]: Range): bigint {
  if (typeof json !== "number" && !(typeof json === "string" && /^-?\d{1,20}$/.test(json))) {
    throw unexpected("an integer", json);
  }
  if (typeof json === "number" && !Number.isInteger(json))
    throw new InvalidValue("must be an integer, without a fraction");
  if (typeof json === "number" && !Number.isSafeInteger(json) && max > uint32[1]) {
    throw new InvalidValue("is too large to be exact as a JSON number; send it as a string");
  }
  const value = BigInt(json);
  if (value < min || value > max) throw new InvalidValue(`must be an integer from ${min} to ${max}`);
  return value;
}

const specialFloats: Record<string, number> = { NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity };
const maxFloat = 3.4028234663852886e38;

function floatFromJson(type: ScalarType, json: JsonValue): number {
  if (typeof json === "string" && Object.hasOwn(specialFloats, json)) return specialFloats[json]!;
  const isNumeric =
    typeof json === "number" || (typeof json === "string" && /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(json));
  if (!isNumeric) throw unexpected("a number", json);
  const value = Number(json);
  if (!Number.isFinite(value) || (type === ScalarType.FLOAT && Math.abs(value) > maxFloat)) {
    throw new InvalidValue("is a number beyond the range of its type");
  }
  return value;
}

function bytesFromJson(text: string): Uint8Array {
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text)) throw new InvalidValue("must be base64");
  try {
    return base64Decode(text);
  } catch {
    throw new InvalidValue("must be base64");
  }
}

function expectString(json: JsonValue, expected: string): string {
  if (typeof json !== "string") throw unexpected(expected, json);
  return json;
}

function describe(json: JsonValue): string {
  if (json === null) return "null";
  if (Array.isArray(json)) return "an array";
  if (typeof json === "object") return "an object";
  if (typeof json === "string") return `"${abridged(json)}"`;
  return String(json);
}
