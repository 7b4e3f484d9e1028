import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

const unstorable = /\0|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** A text as PostgreSQL takes it: without zero characters and halves of characters. */
export function storableText(text: string): string {
  return text.replace(unstorable, "");
}

/** An object as PostgreSQL's jsonb takes it. */
export function storableJson(value: JsonObject): JsonObject {
  return clean(value) as JsonObject;
}

function clean(value: JsonValue): JsonValue {
  if (typeof value === "string") return storableText(value);
  if (Array.isArray(value)) return value.map(clean);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [storableText(key), clean(one)]));
}
