import {
  create,
  createRegistry,
  type DescEnum,
  type DescField,
  type DescMessage,
  fromBinary,
  type JsonObject,
  type JsonValue,
  type Message,
  type Registry,
  toBinary,
} from "@bufbuild/protobuf";
import { type Any, AnySchema, isWrapperDesc } from "@bufbuild/protobuf/wkt";
import { enumNumber, offeredEnumNames, shortEnumName } from "./enum-names.js";
import {
  findField,
  getFieldValue,
  isPlainStruct,
  isUnwrapped,
  setFieldValue,
  setMemberOfOneof,
} from "./message-fields.js";
import { abridged, scalarFromJson, scalarFromText, scalarToJson, unexpected } from "./scalar-json.js";
import { memberPath, type Violations } from "./violations.js";
import { checkKey, checkPlainJson, maxDepth, wellKnownJson, wrapped } from "./well-known-json.js";

/** More names than this explain nothing. */
const maxNamesInError = 16;

/**
 * Messages as REST clients see them: snake_case names; fields without presence always there (empty lists as []), unset
 * optional fields absent; 64-bit integers as numbers while exact, else strings; enum values without their type's
 * prefix; Struct as plain JSON. Reading also takes camelCase names, numbers as strings, and enum names in any case.
 */
export class JsonCodec {
  readonly #registry: Registry;

  /** The registry names the messages that may stand in a google.protobuf.Any. */
  constructor(registry: Registry = createRegistry()) {
    this.#registry = registry;
  }

  /** Encodes a message. */
  toJson(desc: DescMessage, message: Message): JsonValue {
    if (desc.typeName === AnySchema.typeName) return this.#anyToJson(message as Any);
    const wellKnown = wellKnownJson(desc);
    if (wellKnown !== undefined) return wellKnown.toJson(desc, message);
    const json: JsonObject = {};
    for (const field of desc.fields) {
      const value = getFieldValue(message, field);
      if (value !== undefined) json[field.name] = this.fieldToJson(field, value);
    }
    return json;
  }

  /** Encodes the value of a field, as `getFieldValue` gives it. */
  fieldToJson(field: DescField, value: unknown): JsonValue {
    switch (field.fieldKind) {
      case "list":
        return (value as unknown[]).map((item) => this.#itemToJson(field, item));
      case "map":
        return Object.fromEntries(
          Object.entries(value as object).map(([key, item]) => [key, this.#itemToJson(field, item)]),
        );
      case "message":
        if (isUnwrapped(field)) return scalarToJson(wrapped(field.message), value);
        return this.#itemToJson(field, value);
      default:
        return this.#itemToJson(field, value);
    }
  }

  #itemToJson(field: DescField, value: unknown): JsonValue {
    if (field.message !== undefined) {
      return isPlainStruct(field) ? (value as JsonObject) : this.toJson(field.message, value as Message);
    }
    if (field.enum !== undefined) return enumToJson(field.enum, value as number);
    return scalarToJson(field.scalar!, value);
  }

  /** Decodes a message. What does not fit is added to the violations, under `path`. */
  fromJson(desc: DescMessage, json: JsonValue, violations: Violations, path = "", depth = 0): Message | undefined {
    if (desc.typeName === AnySchema.typeName) return this.#anyFromJson(json, violations, path, depth);
    const wellKnown = wellKnownJson(desc);
    if (wellKnown !== undefined) {
      const plain = wellKnown.scalar || checkPlainJson(json, path, depth, (at, problem) => violations.add(at, problem));
      return plain ? violations.guard(path, () => wellKnown.fromJson(desc, json)) : undefined;
    }
    const message = create(desc);
    this.mergeJson(desc, message, json, violations, path, depth);
    return message;
  }

  /** Decodes an object of fields into a message that exists. */
  mergeJson(desc: DescMessage, message: Message, json: JsonValue, violations: Violations, path = "", depth = 0): void {
    if (depth > maxDepth) return violations.add(path, `is nested more than ${maxDepth} levels deep`);
    if (json === null || typeof json !== "object" || Array.isArray(json)) {
      return violations.add(path, unexpected("an object", json).message);
    }
    const seen = new Set<DescField>();
    for (const [name, value] of Object.entries(json)) {
      const field = findField(desc, name);
      const at = memberPath(path, field?.name ?? abridged(name));
      if (field === undefined) {
        violations.add(at, `is not a known field${namesOf(desc)}`);
      } else if (seen.has(field)) {
        violations.add(at, "is given twice, in snake_case and in camelCase");
      } else {
        seen.add(field);
        const other = setMemberOfOneof(message, field);
        const decoded = this.fieldFromJson(field, value, violations, at, depth);
        if (decoded === undefined) continue;
        if (other !== undefined) violations.add(at, `cannot be given together with ${other}`);
        setFieldValue(message, field, decoded);
      }
    }
  }

  /** Decodes the value of a field; undefined for null, which leaves it unset, and for values that do not fit. */
  fieldFromJson(field: DescField, json: JsonValue, violations: Violations, path: string, depth = 0): unknown {
    if (json === null && !takesNull(field)) return undefined;
    switch (field.fieldKind) {
      case "list":
        if (!Array.isArray(json)) return violations.add(path, unexpected("an array", json).message);
        return json.map((item, i) => this.#itemFromJson(field, item, violations, `${path}[${i}]`, depth));
      case "map":
        return this.#mapFromJson(field, json, violations, path, depth);
      case "message":
        if (isUnwrapped(field)) return violations.guard(path, () => scalarFromJson(wrapped(field.message), json));
        return this.#itemFromJson(field, json, violations, path, depth);
      default:
        return this.#itemFromJson(field, json, violations, path, depth);
    }
  }

  #itemFromJson(field: DescField, json: JsonValue, violations: Violations, path: string, depth: number): unknown {
    if (json === null && !takesNull(field)) return violations.add(path, "must not be null");
    if (field.message !== undefined) {
      if (!isPlainStruct(field)) return this.fromJson(field.message, json, violations, path, depth + 1);
      if (json === null || typeof json !== "object" || Array.isArray(json)) {
        return violations.add(path, unexpected("an object", json).message);
      }
      return checkPlainJson(json, path, depth, (at, problem) => violations.add(at, problem)) ? json : undefined;
    }
    if (field.enum !== undefined) return violations.guard(path, () => enumFromJson(field.enum, json));
    return violations.guard(path, () => scalarFromJson(field.scalar!, json, longAsString(field)));
  }

  #mapFromJson(
    field: DescField & { fieldKind: "map" },
    json: JsonValue,
    violations: Violations,
    path: string,
    depth: number,
  ) {
    if (json === null || typeof json !== "object" || Array.isArray(json)) {
      return violations.add(path, unexpected("an object", json).message);
    }
    const entries = Object.entries(json).map(([name, value]): [string, unknown] => {
      const at = `${path}[${JSON.stringify(abridged(name))}]`;
      const key = violations.guard(at, () => String(scalarFromText(field.mapKey, checkKey(name))));
      return [key ?? "", this.#itemFromJson(field, value, violations, at, depth)];
    });
    return Object.fromEntries(entries);
  }

  /** {"@type": url, ...fields}, or {"@type": url, "value": ...} for types with a special form and unknown ones. */
  #anyToJson(any: Any): JsonValue {
    const desc = this.#registry.getMessage(any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1));
    if (desc === undefined) return { "@type": any.typeUrl, value: scalarToJson(12, any.value) };
    const json = this.toJson(desc, fromBinary(desc, any.value));
    return hasOwnForm(desc) ? { "@type": any.typeUrl, value: json } : { "@type": any.typeUrl, ...(json as JsonObject) };
  }

  #anyFromJson(json: JsonValue, violations: Violations, path: string, depth: number): Message | undefined {
    if (json === null || typeof json !== "object" || Array.isArray(json)) {
      return violations.add(path, unexpected('an object with "@type"', json).message) as undefined;
    }
    const { "@type": typeUrl, ...rest } = json;
    if (typeof typeUrl !== "string") return violations.add(memberPath(path, "@type"), "must name a type") as undefined;
    const desc = this.#registry.getMessage(typeUrl.slice(typeUrl.lastIndexOf("/") + 1));
    if (desc === undefined) return violations.add(memberPath(path, "@type"), "names an unknown type") as undefined;
    const inner = this.fromJson(desc, hasOwnForm(desc) ? (rest["value"] ?? null) : rest, violations, path, depth + 1);
    return inner && create(AnySchema, { typeUrl, value: toBinary(desc, inner) });
  }
}

/** Decodes an enum value by its full or short name or its number. Throws InvalidValue naming the known values. */
export function enumFromJson(desc: DescEnum, json: JsonValue): number {
  if (desc.typeName === "google.protobuf.NullValue" && json === null) return 0;
  if (typeof json === "number" && desc.value[json] !== undefined) return json;
  const number = typeof json === "string" ? enumNumber(desc, json) : undefined;
  if (number !== undefined) return number;
  throw unexpected(`one of ${offeredEnumNames(desc).join(", ")}`, json);
}

function enumToJson(desc: DescEnum, number: number): JsonValue {
  if (desc.typeName === "google.protobuf.NullValue") return null;
  const value = desc.value[number];
  return value === undefined ? number : shortEnumName(value);
}

function hasOwnForm(desc: DescMessage): boolean {
  return isWrapperDesc(desc) || wellKnownJson(desc) !== undefined || desc.typeName === AnySchema.typeName;
}

function takesNull(field: DescField): boolean {
  return field.message?.typeName === "google.protobuf.Value" || field.enum?.typeName === "google.protobuf.NullValue";
}

function longAsString(field: DescField): boolean {
  return "longAsString" in field && field.longAsString;
}

function namesOf(desc: DescMessage): string {
  if (desc.fields.length === 0 || desc.fields.length > maxNamesInError) return "";
  return `; known are ${desc.fields.map((field) => field.name).join(", ")}`;
}
