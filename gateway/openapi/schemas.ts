import { type DescEnum, type DescField, type DescMessage, type JsonObject, ScalarType } from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";
import { offeredEnumNames, shortEnumName } from "../transcoder/enum-names.js";
import { integerRanges } from "../transcoder/scalar-json.js";
import { wrapped } from "../transcoder/well-known-json.js";
import { type Comments, parseComment } from "./comments.js";
import { hasImplicitPresence, messageSentences, requiredFields, rulesOf, type Schema } from "./validation-rules.js";

/** Requests follow the limits; answers always hold the fields that have no presence. */
export type Direction = "request" | "response";

/** The JSON Schemas of messages and enums, as the transcoder's JSON codec reads and writes them. */
export class Schemas {
  readonly #comments: Comments;
  readonly #answered: ReadonlySet<string>;
  readonly #components = new Map<string, Schema>();
  /** The type, direction and left-out fields that a component's name stands for. */
  readonly #owners = new Map<string, string>();

  /**
   * `answers` are the messages that responses hold: requests that hold them too get schemas of their own. No schema
   * takes a reserved name.
   */
  constructor(comments: Comments, answers: Iterable<DescMessage>, reserved: readonly string[] = []) {
    this.#comments = comments;
    for (const name of reserved) this.#owners.set(name, "reserved");
    this.#answered = reachable(answers);
  }

  /** What goes under components.schemas, by name. */
  components(): JsonObject {
    return Object.fromEntries([...this.#components].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** A reference to the schema of a message. Fields in `without` are left out: the URL's path gives them. */
  message(desc: DescMessage, direction: Direction, without: readonly string[] = []): Schema {
    const special = wellKnownSchema(desc);
    if (special !== undefined) return special;
    const isBoth = direction === "request" && this.#answered.has(desc.typeName);
    const owner = `${desc.typeName} ${direction} without ${without.join(",")}`;
    return this.#reference(desc.typeName, isBoth ? "Input" : "", owner, () => this.#object(desc, direction, without));
  }

  /** The schema of one field with its documentation and, in requests, its limits. */
  field(field: DescField, direction: Direction): Schema {
    const { description, examples } = parseComment(this.#comments[`${field.parent.typeName}.${field.name}`]);
    const rules = direction === "request" ? rulesOf(field) : undefined;
    const text = [description, ...(rules?.sentences ?? [])].filter((part) => part !== "").join(" ");
    return {
      ...this.#type(field, direction, rules?.items ?? {}, rules?.keys ?? {}),
      ...rules?.keywords,
      ...(text === "" ? {} : { description: text }),
      ...(examples.length === 0 ? {} : { examples: examples as Schema[] }),
      ...(field.deprecated ? { deprecated: true } : {}),
    };
  }

  #type(field: DescField, direction: Direction, itemRules: Schema, keyRules: Schema): Schema {
    switch (field.fieldKind) {
      case "list":
        return { type: "array", items: { ...this.#item(field, direction), ...itemRules } };
      case "map": {
        const schema: Schema = {
          type: "object",
          additionalProperties: { ...this.#item(field, direction), ...itemRules },
        };
        return Object.keys(keyRules).length === 0 ? schema : { ...schema, propertyNames: keyRules };
      }
      default:
        return this.#item(field, direction);
    }
  }

  #item(field: DescField, direction: Direction): Schema {
    if (field.message !== undefined) return this.message(field.message, direction);
    if (field.enum !== undefined) return this.#enum(field.enum);
    return scalarSchema(field.scalar!);
  }

  #enum(desc: DescEnum): Schema {
    if (desc.typeName === "google.protobuf.NullValue") return { type: "null" };
    return this.#reference(desc.typeName, "", desc.typeName, () => {
      const own = parseComment(this.#comments[desc.typeName]).description;
      const offered = offeredEnumNames(desc);
      const lines = desc.values
        .map((value) => ({ name: shortEnumName(value), text: this.#comments[`${desc.typeName}.${value.name}`] }))
        .filter(({ name, text }) => text !== undefined && offered.includes(name))
        .map(({ name, text }) => `- ${name}: ${parseComment(text).description}`);
      const description = [own, lines.join("\n")].filter((part) => part !== "").join("\n\n");
      return { type: "string", enum: desc.values.map(shortEnumName), ...(description === "" ? {} : { description }) };
    });
  }

  #object(desc: DescMessage, direction: Direction, without: readonly string[]): Schema {
    const { description, examples } = parseComment(this.#comments[desc.typeName]);
    const fields = desc.fields.filter((field) => !without.includes(field.name));
    const sentences = direction === "request" ? messageSentences(desc) : [];
    const text = [description, ...sentences].filter((part) => part !== "").join(" ");
    const required = fields.filter((field) => isAlwaysThere(field, direction)).map((field) => field.name);
    return {
      type: "object",
      ...(text === "" ? {} : { description: text }),
      properties: Object.fromEntries(fields.map((field) => [field.name, this.field(field, direction)])),
      ...(required.length === 0 ? {} : { required }),
      ...(examples.length === 0 || without.length > 0 ? {} : { examples: examples as Schema[] }),
    };
  }

  /** Registers before it builds: messages may hold themselves. */
  #reference(typeName: string, suffix: string, owner: string, build: () => Schema): Schema {
    const name = this.#claimName(typeName, suffix, owner);
    if (!this.#components.has(name)) {
      this.#components.set(name, {});
      this.#components.set(name, build());
    }
    return { $ref: `#/components/schemas/${name}` };
  }

  /** The short name where it is free, else the full one, else a numbered one. */
  #claimName(typeName: string, suffix: string, owner: string): string {
    const short = typeName.slice(typeName.lastIndexOf(".") + 1) + suffix;
    const full = typeName.replaceAll(".", "_") + suffix;
    for (let i = 0; ; i++) {
      const name = i === 0 ? short : i === 1 ? full : `${short}_${i}`;
      const taken = this.#owners.get(name);
      if (taken !== undefined && taken !== owner) continue;
      this.#owners.set(name, owner);
      return name;
    }
  }
}

/** The types of messages and of all messages in them. */
function reachable(messages: Iterable<DescMessage>, found = new Set<string>()): Set<string> {
  for (const message of messages) {
    if (found.has(message.typeName)) continue;
    found.add(message.typeName);
    reachable(
      message.fields.flatMap((field) => (field.message === undefined ? [] : [field.message])),
      found,
    );
  }
  return found;
}

/** The schema of a scalar in JSON. */
export function scalarSchema(type: ScalarType): Schema {
  switch (type) {
    case ScalarType.STRING:
      return { type: "string" };
    case ScalarType.BOOL:
      return { type: "boolean" };
    case ScalarType.BYTES:
      return { type: "string", contentEncoding: "base64" };
    case ScalarType.DOUBLE:
      return { type: "number", format: "double" };
    case ScalarType.FLOAT:
      return { type: "number", format: "float" };
    default: {
      const [min, max] = integerRanges[type];
      const size = max > 0xffffffffn ? "int64" : "int32";
      return min === 0n ? { type: "integer", format: `u${size}`, minimum: 0 } : { type: "integer", format: size };
    }
  }
}

const wellKnown: Readonly<Record<string, Schema>> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.Duration": { type: "string", pattern: "^-?[0-9]+(\\.[0-9]{1,9})?s$" },
  "google.protobuf.FieldMask": { type: "string" },
  "google.protobuf.Struct": { type: "object", additionalProperties: true },
  "google.protobuf.Value": {},
  "google.protobuf.ListValue": { type: "array", items: {} },
  "google.protobuf.Empty": { type: "object" },
  "google.protobuf.Any": {
    type: "object",
    properties: { "@type": { type: "string" } },
    required: ["@type"],
    additionalProperties: true,
  },
};

function wellKnownSchema(desc: DescMessage): Schema | undefined {
  return isWrapperDesc(desc) ? scalarSchema(wrapped(desc)) : wellKnown[desc.typeName];
}

function isAlwaysThere(field: DescField, direction: Direction): boolean {
  if (direction === "request") return requiredFields(field.parent).has(field.name);
  return hasImplicitPresence(field);
}
