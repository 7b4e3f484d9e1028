import {
  create,
  type DescField,
  type DescMessage,
  type DescOneof,
  getOption,
  hasOption,
  type JsonObject,
  ScalarType,
  toJson,
} from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";
import {
  field as fieldOption,
  FieldRulesSchema,
  message as messageOption,
  oneof as oneofOption,
} from "../../gen/buf/validate/validate_pb.js";

/** JSON Schema keywords. */
export type Schema = JsonObject;

/** What buf.validate demands of a field. */
export interface FieldRules {
  /** Keywords that belong to the field's own schema, and for lists and maps to that of their items and keys. */
  readonly keywords: Schema;
  readonly items: Schema;
  readonly keys: Schema;
  /** Rules that only words can tell. */
  readonly sentences: readonly string[];
}

const validator = createValidator();
const requiredByMessage = new WeakMap<DescMessage, ReadonlySet<string>>();

/** The fields that a request must give: those at fault in an empty message, by whatever rule. */
export function requiredFields(desc: DescMessage): ReadonlySet<string> {
  let required = requiredByMessage.get(desc);
  if (required === undefined) {
    const result = validator.validate(desc, create(desc));
    const paths = result.kind === "invalid" ? result.violations.map(({ field }) => field) : [];
    required = new Set(paths.filter((path) => path.length === 1).map(pathToString));
    requiredByMessage.set(desc, required);
  }
  return required;
}

/** A FieldRules message as JSON: only what is set is there. */
type Rules = { readonly [name: string]: any };

/** Reads the buf.validate rules of a field. */
export function rulesOf(field: DescField): FieldRules {
  const rules: Rules = hasOption(field, fieldOption)
    ? (toJson(FieldRulesSchema, getOption(field, fieldOption)) as Rules)
    : {};
  const own = keywordsOf(rules);
  const items = keywordsOf((field.fieldKind === "map" ? rules["map"]?.values : rules["repeated"]?.items) ?? {});
  if (rules["required"] === true) Object.assign(own, { ...nonZero(field), ...own });
  return {
    keywords: own,
    items,
    keys: keywordsOf(rules["map"]?.keys ?? {}),
    sentences: celSentences(rules["cel"]),
  };
}

/** Rules of a message that only words can tell, its oneofs among them. */
export function messageSentences(desc: DescMessage): string[] {
  const rules = hasOption(desc, messageOption) ? getOption(desc, messageOption) : undefined;
  const groups = [
    ...desc.oneofs.map((oneof) => ({ names: oneof.fields.map((field) => field.name), required: isRequired(oneof) })),
    ...(rules?.oneof ?? []).map(({ fields, required }) => ({ names: fields, required })),
  ];
  const chosen = groups.map(
    ({ names, required }) => `${required ? "Exactly" : "At most"} one of ${names.join(", ")} is given.`,
  );
  return [...chosen, ...celSentences(rules?.cel)];
}

function isRequired(oneof: DescOneof): boolean {
  return hasOption(oneof, oneofOption) && getOption(oneof, oneofOption).required;
}

function celSentences(rules: readonly { message?: string }[] | undefined): string[] {
  return (rules ?? []).flatMap(({ message }) => (message === undefined || message === "" ? [] : [`Rule: ${message}.`]));
}

function keywordsOf(rules: Rules): Schema {
  const [kind] = Object.keys(rules).filter((name) => name in byKind);
  return kind === undefined ? {} : byKind[kind]!(rules[kind] as Rules);
}

const numeric = (rules: Rules): Schema =>
  defined({
    const: number(rules["const"]),
    exclusiveMaximum: number(rules["lt"]),
    maximum: number(rules["lte"]),
    exclusiveMinimum: number(rules["gt"]),
    minimum: number(rules["gte"]),
    enum: rules["in"]?.map(number),
    not: rules["notIn"] && { enum: rules["notIn"].map(number) },
  });

const text = (rules: Rules): Schema =>
  defined({
    const: rules["const"],
    minLength: number(rules["len"] ?? rules["minLen"]),
    maxLength: number(rules["len"] ?? rules["maxLen"]),
    pattern: rules["pattern"] ?? affix(rules),
    enum: rules["in"],
    not: rules["notIn"] && { enum: rules["notIn"] },
    format: textFormats.find(([name]) => rules[name] === true)?.[1],
  });

/** Formats of JSON Schema for buf.validate's well-known strings. */
const textFormats: readonly (readonly [rule: string, format: string])[] = [
  ["email", "email"],
  ["hostname", "hostname"],
  ["ipv4", "ipv4"],
  ["ipv6", "ipv6"],
  ["uri", "uri"],
  ["uriRef", "uri-reference"],
  ["uuid", "uuid"],
];

const byKind: Readonly<Record<string, (rules: Rules) => Schema>> = {
  string: text,
  float: numeric,
  double: numeric,
  int32: numeric,
  int64: numeric,
  uint32: numeric,
  uint64: numeric,
  sint32: numeric,
  sint64: numeric,
  fixed32: numeric,
  fixed64: numeric,
  sfixed32: numeric,
  sfixed64: numeric,
  bool: (rules) => defined({ const: rules["const"] }),
  repeated: (rules) =>
    defined({ minItems: number(rules["minItems"]), maxItems: number(rules["maxItems"]), uniqueItems: rules["unique"] }),
  map: (rules) => defined({ minProperties: number(rules["minPairs"]), maxProperties: number(rules["maxPairs"]) }),
};

/** 64-bit integers are strings in protobuf's JSON. */
function number(value: unknown): number | undefined {
  return value === undefined ? undefined : Number(value);
}

function affix(rules: Rules): string | undefined {
  if (rules["prefix"] !== undefined) return `^${escape(rules["prefix"])}`;
  return rules["suffix"] === undefined ? undefined : `${escape(rules["suffix"])}$`;
}

function escape(literal: string): string {
  return literal.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

function defined(schema: Record<string, unknown>): Schema {
  return Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined)) as Schema;
}

/** What "required" means for a field whose absence is its zero value. */
function nonZero(field: DescField): Schema {
  if (field.fieldKind === "list") return { minItems: 1 };
  if (field.fieldKind === "map") return { minProperties: 1 };
  return isText(field) && hasImplicitPresence(field) ? { minLength: 1 } : {};
}

function isText(field: DescField): boolean {
  return field.fieldKind === "scalar" && field.scalar === ScalarType.STRING;
}

/** Whether an unset field cannot be told from its zero value; lists and maps are such. They are always in answers. */
export function hasImplicitPresence(field: DescField): boolean {
  return field.presence === FeatureSet_FieldPresence.IMPLICIT;
}
