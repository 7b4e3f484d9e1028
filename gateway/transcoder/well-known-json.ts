import { create, type DescMessage, fromJson, type JsonValue, type Message, toJson } from "@bufbuild/protobuf";
import { type FieldMask, FieldMaskSchema, isWrapperDesc } from "@bufbuild/protobuf/wkt";
import { scalarFromJson, scalarToJson, unexpected, wellFormed } from "./scalar-json.js";
import { InvalidValue, memberPath } from "./violations.js";

/** JSON form of a message type that is not an object of its fields. `fromJson` throws InvalidValue. */
export interface WellKnownJson {
  toJson(desc: DescMessage, message: Message): JsonValue;
  fromJson(desc: DescMessage, json: JsonValue): Message;
  /** True when the JSON form is one string, number or boolean, which a query parameter can carry. */
  readonly scalar: boolean;
}

const fieldPathPattern = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/;

/** Paths stay in snake_case, as the fields are named elsewhere in the JSON; camelCase is understood. */
const fieldMask: WellKnownJson = {
  scalar: true,
  toJson: (_desc, message) => (message as FieldMask).paths.join(","),
  fromJson(desc, json) {
    if (typeof json !== "string")
      throw unexpected('field paths separated by commas, such as "title,metadata.kind"', json);
    const paths = json === "" ? [] : json.split(",").map((path) => path.trim());
    const bad = paths.find((path) => !fieldPathPattern.test(path));
    if (bad !== undefined) throw new InvalidValue(`holds "${bad}", which is not a field path`);
    const snakeCase = paths.map((path) => path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
    return create(desc as typeof FieldMaskSchema, { paths: snakeCase });
  },
};

/** A type whose JSON form protobuf-es reads and writes as we do; its errors get our words. */
function standard(expected: string, scalar: boolean): WellKnownJson {
  return {
    scalar,
    toJson: (desc, message) => toJson(desc, message) as JsonValue,
    fromJson(desc, json) {
      try {
        return fromJson(desc, json);
      } catch {
        throw unexpected(expected, json);
      }
    },
  };
}

const wrapper: WellKnownJson = {
  scalar: true,
  toJson: (desc, message) => scalarToJson(wrapped(desc), (message as Message & { value: unknown }).value),
  fromJson: (desc, json) => create(desc, { value: scalarFromJson(wrapped(desc), json) }) as Message,
};

const types = new Map<string, WellKnownJson>([
  ["google.protobuf.FieldMask", fieldMask],
  ["google.protobuf.Timestamp", standard('a time such as "2026-01-31T12:00:00Z"', true)],
  ["google.protobuf.Duration", standard('a duration in seconds such as "1.5s"', true)],
  ["google.protobuf.Struct", standard("an object", false)],
  ["google.protobuf.Value", standard("a JSON value", false)],
  ["google.protobuf.ListValue", standard("an array", false)],
]);

/** The special JSON form of a message type; undefined for types that are objects of their fields. */
export function wellKnownJson(desc: DescMessage): WellKnownJson | undefined {
  return isWrapperDesc(desc) ? wrapper : types.get(desc.typeName);
}

/** The scalar type inside of a wrapper such as google.protobuf.Int64Value. */
export function wrapped(desc: DescMessage): Parameters<typeof scalarToJson>[0] {
  const [value] = desc.fields;
  if (value?.fieldKind !== "scalar") throw new Error(`${desc.typeName} is not a wrapper`);
  return value.scalar;
}

/** What a JSON value may nest: the limit of protobuf's own decoders. */
export const maxDepth = 100;

/** Calls `report` for what a google.protobuf.Struct cannot carry in a JSON value; true when there is nothing. */
export function checkPlainJson(
  json: JsonValue,
  path: string,
  depth: number,
  report: (path: string, problem: string) => void,
): boolean {
  if (depth > maxDepth) {
    report(path, `is nested more than ${maxDepth} levels deep`);
    return false;
  }
  try {
    if (typeof json === "string") wellFormed(json);
    if (typeof json === "number" && !Number.isFinite(json))
      throw new InvalidValue("is a number beyond the range of its type");
    if (json === null || typeof json !== "object") return true;
    const entries: [string, JsonValue][] = Array.isArray(json)
      ? json.map((item, i) => [`${path}[${i}]`, item])
      : Object.entries(json).map(([key, value]) => [memberPath(path, checkKey(key)), value]);
    return entries.every(([below, value]) => checkPlainJson(value, below, depth + 1, report));
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    report(path, error.message);
    return false;
  }
}

/** The key itself. Throws InvalidValue for keys that would change an object's prototype instead of being stored. */
export function checkKey(key: string): string {
  if (key === "__proto__") throw new InvalidValue('must not have the key "__proto__"');
  return wellFormed(key);
}
