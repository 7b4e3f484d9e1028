import { create, type DescField, type DescMessage, type Message } from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";
import { enumFromJson } from "./json-codec.js";
import { findField, getFieldValue, isUnwrapped, setFieldValue } from "./message-fields.js";
import { scalarFromText } from "./scalar-json.js";
import { wellKnownJson, wrapped } from "./well-known-json.js";

/** A field reached through nested messages: `sub.subfield`. */
export interface FieldPath {
  /** The fields from the request message to the leaf; never empty. */
  readonly fields: readonly DescField[];
  /** The last of them. */
  readonly leaf: DescField;
  /** The path in proto names. */
  readonly name: string;
}

/** Finds the field of a dotted path, in proto or JSON names; undefined when there is none. */
export function resolveFieldPath(desc: DescMessage, path: string): FieldPath | undefined {
  const fields: DescField[] = [];
  let message: DescMessage | undefined = desc;
  for (const name of path.split(".")) {
    const field: DescField | undefined = message && findField(message, name);
    if (field === undefined) return undefined;
    fields.push(field);
    const isObject: boolean = field.fieldKind === "message" && wellKnownJson(field.message) === undefined;
    message = isObject ? field.message : undefined;
  }
  return { fields, leaf: fields.at(-1)!, name: fields.map((field) => field.name).join(".") };
}

/** Whether text can give a field's value or its items': scalars, enums, and messages whose JSON is a scalar. */
export function fitsInText(field: DescField): boolean {
  if (field.fieldKind === "map") return false;
  return field.message === undefined || wellKnownJson(field.message)?.scalar === true;
}

/** Decodes the text of one value of a field, or of one item of a list. Throws InvalidValue. */
export function valueFromText(field: DescField, text: string): unknown {
  if (field.enum !== undefined) return enumFromJson(field.enum, /^-?\d+$/.test(text) ? Number(text) : text);
  if (field.message === undefined) {
    return scalarFromText(field.scalar!, text, "longAsString" in field && field.longAsString);
  }
  if (!isWrapperDesc(field.message)) return wellKnownJson(field.message)!.fromJson(field.message, text);
  const value = scalarFromText(wrapped(field.message), text);
  return isUnwrapped(field) ? value : create(field.message as DescMessage, { value });
}

/** The message that holds the path's leaf, made where it is not there yet. */
export function parentOf(message: Message, path: FieldPath): Message {
  let parent = message;
  for (const field of path.fields.slice(0, -1)) {
    let child = getFieldValue(parent, field) as Message | undefined;
    if (child === undefined) {
      child = create(field.message!);
      setFieldValue(parent, field, child);
    }
    parent = child;
  }
  return parent;
}
