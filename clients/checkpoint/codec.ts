import { messageOf, messageRecord } from "./messages.js";

/**
 * JSON that keeps what JSON cannot say. Such a value becomes an object with the
 * key "$type" that names its kind; an object that has that key itself becomes
 * one of the kind "object". Reading makes plain data, built-in values and the
 * message classes of @langchain/core, and nothing else: what is not understood
 * stays the plain object that it is.
 */
const TYPE = "$type";

interface Tagged {
  readonly $type: string;
  readonly [key: string]: unknown;
}

const TYPED_ARRAYS = {
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
} as const;

/** What JSON leaves out of objects: functions and symbols. */
const OMITTED = Symbol("omitted");

/** The value as JSON text without line breaks. Throws TypeError, saying where, when it contains itself. */
export function encode(value: unknown): string {
  const part = toJson(value, []);
  return JSON.stringify(part === OMITTED ? tagged("undefined") : part);
}

/** The value of a text that `encode` made. */
export function decode(text: string): unknown {
  return fromJson(JSON.parse(text));
}

/** `path` holds the objects that `value` is inside of. */
function toJson(value: unknown, path: object[]): unknown {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : tagged("number", { value: Object.is(value, -0) ? "-0" : String(value) });
    case "bigint":
      return tagged("bigint", { value: String(value) });
    case "undefined":
      return tagged("undefined");
    case "object":
      return value === null ? null : objectToJson(value, path);
    default:
      return OMITTED;
  }
}

function objectToJson(value: object, path: object[]): unknown {
  if (path.includes(value)) throw new TypeError("a value that contains itself cannot be stored");
  path.push(value);
  const json = Array.isArray(value) ? arrayToJson(value, path) : (specialToJson(value, path) ?? recordToJson(value, path));
  path.pop();
  return json;
}

function arrayToJson(value: readonly unknown[], path: object[]): unknown[] {
  let copy: unknown[] | undefined;
  for (let i = 0; i < value.length; i += 1) {
    const part = toJson(value[i], path);
    if (part === value[i] && i in value) continue;
    copy ??= value.slice();
    copy[i] = part === OMITTED ? null : part;
  }
  return copy ?? (value as unknown[]);
}

function recordToJson(value: object, path: object[]): unknown {
  const source = value as Record<string, unknown>;
  const keys = Object.keys(source);
  let copy: Record<string, unknown> | undefined;
  for (const key of keys) {
    const part = toJson(source[key], path);
    if (part === source[key]) continue;
    copy ??= copyOf(source, keys);
    if (part === OMITTED) delete copy[key];
    else setOwn(copy, key, part);
  }
  const json = copy ?? source;
  return Object.hasOwn(json, TYPE) ? tagged("object", { entries: Object.entries(json) }) : json;
}

/** Undefined for what is a plain object. */
function specialToJson(value: object, path: object[]): unknown {
  const { toJSON } = value as { toJSON?: unknown };
  const prototype = Object.getPrototypeOf(value);
  if ((prototype === Object.prototype || prototype === null) && typeof toJSON !== "function") return undefined;
  if (value instanceof Date) return tagged("date", { value: Number.isNaN(value.getTime()) ? null : value.getTime() });
  if (value instanceof Map) {
    return tagged("map", { entries: Array.from(value, (entry) => arrayToJson(entry, path)) });
  }
  if (value instanceof Set) return tagged("set", { values: arrayToJson([...value], path) });
  if (value instanceof RegExp) return tagged("regexp", { source: value.source, flags: value.flags });
  if (value instanceof Error) return errorToJson(value, path);
  if (ArrayBuffer.isView(value)) return bytesToJson(value);
  if (value instanceof ArrayBuffer) return tagged("bytes", { class: "ArrayBuffer", base64: Buffer.from(value).toString("base64") });
  const message = messageRecord(value);
  if (message !== undefined) return tagged("message", { class: message.class, fields: recordToJson(message.fields, path) });
  return typeof toJSON === "function" ? toJson(toJSON.call(value), path) : undefined;
}

function errorToJson(error: Error, path: object[]): Tagged {
  const { name, message, cause } = error;
  return tagged("error", { name, message, ...(cause !== undefined && { cause: toJson(cause, path) }) });
}

function bytesToJson(view: ArrayBufferView): Tagged {
  const name = Object.keys(TYPED_ARRAYS).find((key) => view instanceof TYPED_ARRAYS[key as keyof typeof TYPED_ARRAYS]);
  const base64 = Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("base64");
  return tagged("bytes", { class: name ?? "Uint8Array", base64 });
}

function tagged(type: string, rest: Record<string, unknown> = {}): Tagged {
  return { [TYPE]: type, ...rest } as Tagged;
}

/** Puts what `encode` tagged back in place, inside the parsed value. */
function fromJson(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i += 1) {
      if (typeof value[i] === "object") value[i] = fromJson(value[i]);
    }
    return value;
  }
  const source = value as Record<string, unknown>;
  for (const key of Object.keys(source)) {
    // Only own properties are assigned to: JSON.parse makes "__proto__" one as well.
    if (typeof source[key] === "object") source[key] = fromJson(source[key]);
  }
  if (!Object.hasOwn(source, TYPE)) return source;
  const special = READERS.get(source[TYPE])?.(source);
  return special === undefined && source[TYPE] !== "undefined" ? source : special;
}

type Reader = (record: Record<string, unknown>) => unknown;

const NUMBERS = new Map<unknown, number>([
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
  ["-0", -0],
]);

/** Each answers undefined for a record that is not of its kind. */
const READERS: ReadonlyMap<unknown, Reader> = new Map<unknown, Reader>([
  ["undefined", () => undefined],
  ["number", ({ value }) => NUMBERS.get(value)],
  ["bigint", ({ value }) => (typeof value === "string" && /^-?\d+$/.test(value) ? BigInt(value) : undefined)],
  ["date", ({ value }) => (typeof value === "number" || value === null ? new Date(value ?? Number.NaN) : undefined)],
  ["map", ({ entries }) => (isEntries(entries) ? new Map(entries) : undefined)],
  ["set", ({ values }) => (Array.isArray(values) ? new Set(values) : undefined)],
  ["regexp", ({ source, flags }) => regExpOf(source, flags)],
  ["error", errorOf],
  ["bytes", bytesOf],
  ["message", messageOf],
  ["object", ({ entries }) => (isEntries(entries) ? objectOf(entries) : undefined)],
]);

function isEntries(value: unknown): value is [unknown, unknown][] {
  return Array.isArray(value) && value.every((entry) => Array.isArray(entry) && entry.length === 2);
}

function regExpOf(source: unknown, flags: unknown): RegExp | undefined {
  if (typeof source !== "string" || typeof flags !== "string") return undefined;
  try {
    return new RegExp(source, flags);
  } catch {
    return undefined;
  }
}

function errorOf({ name, message, cause }: Record<string, unknown>): Error | undefined {
  if (typeof name !== "string" || typeof message !== "string") return undefined;
  const error = new Error(message, cause === undefined ? {} : { cause });
  if (name !== error.name) error.name = name;
  return error;
}

function bytesOf(record: Record<string, unknown>): ArrayBuffer | ArrayBufferView | undefined {
  if (typeof record.base64 !== "string" || typeof record.class !== "string") return undefined;
  const bytes = Uint8Array.from(Buffer.from(record.base64, "base64"));
  if (record.class === "ArrayBuffer") return bytes.buffer;
  if (!Object.hasOwn(TYPED_ARRAYS, record.class)) return undefined;
  const make = TYPED_ARRAYS[record.class as keyof typeof TYPED_ARRAYS];
  return bytes.length % make.BYTES_PER_ELEMENT === 0 ? new make(bytes.buffer) : undefined;
}

function objectOf(entries: [unknown, unknown][]): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  for (const [key, value] of entries) setOwn(object, String(key), value);
  return object;
}

function copyOf(source: Record<string, unknown>, keys: readonly string[]): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const key of keys) setOwn(copy, key, source[key]);
  return copy;
}

/** Assigning to "__proto__" would change the prototype instead. */
function setOwn(target: Record<string, unknown>, key: string, value: unknown): void {
  if (key === "__proto__") Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
  else target[key] = value;
}
