import { type DescField, type DescMessage, type Message } from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";

type Properties = Record<string, unknown>;
interface OneofProperty {
  case: string | undefined;
  value?: unknown;
}

/**
 * The value that protobuf-es keeps for a field in a message object; undefined when a field with presence is unset.
 * Lists are arrays, maps plain objects, Struct fields plain JSON, and singular wrapper fields their bare value.
 */
export function getFieldValue(message: Message, field: DescField): unknown {
  const properties = message as unknown as Properties;
  if (field.oneof !== undefined) {
    const oneof = properties[field.oneof.localName] as OneofProperty;
    return oneof.case === field.localName ? oneof.value : undefined;
  }
  // Fields of proto2 and editions inherit their default from the message's prototype: that is not a set value.
  return Object.hasOwn(properties, field.localName) ? properties[field.localName] : undefined;
}

/** Sets a field to a value in the form of `getFieldValue`. */
export function setFieldValue(message: Message, field: DescField, value: unknown): void {
  const properties = message as unknown as Properties;
  if (field.oneof === undefined) properties[field.localName] = value;
  else properties[field.oneof.localName] = { case: field.localName, value } satisfies OneofProperty;
}

/** The member of the field's oneof that is set now, if any. */
export function setMemberOfOneof(message: Message, field: DescField): string | undefined {
  if (field.oneof === undefined) return undefined;
  const chosen = ((message as unknown as Properties)[field.oneof.localName] as OneofProperty).case;
  return field.oneof.fields.find((member) => member.localName === chosen)?.name;
}

/** Whether a field of the message type holds the bare value of a wrapper such as google.protobuf.StringValue. */
export function isUnwrapped(field: DescField): boolean {
  return field.fieldKind === "message" && field.oneof === undefined && isWrapperDesc(field.message);
}

/** Whether a field, list item or map value of type google.protobuf.Struct is kept as plain JSON. */
export function isPlainStruct(field: DescField): boolean {
  return field.message?.typeName === "google.protobuf.Struct" && field.parent.typeName !== "google.protobuf.Value";
}

const fieldsByName = new WeakMap<DescMessage, Map<string, DescField>>();

/** Finds a field by its proto name (`page_size`) or its JSON name (`pageSize`). */
export function findField(message: DescMessage, name: string): DescField | undefined {
  let fields = fieldsByName.get(message);
  if (fields === undefined) {
    fields = new Map(message.fields.map((field) => [field.jsonName, field]));
    for (const field of message.fields) fields.set(field.name, field);
    fieldsByName.set(message, fields);
  }
  return fields.get(name);
}
