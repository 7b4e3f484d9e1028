import { create, type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";
import { isPlainStruct, setFieldValue } from "../../transcoder/message-fields.js";
import { wellKnownJson } from "../../transcoder/well-known-json.js";

/** A message whose every field is set, nested ones down to `depth`; of a oneof the last member stays. */
export function fullMessage(desc: DescMessage, depth = 4): Message {
  const message = create(desc);
  if (wellKnownJson(desc) !== undefined && !isWrapperDesc(desc)) return message;
  for (const field of desc.fields) {
    const value = valueOf(field, depth);
    if (value === undefined) continue;
    if (field.fieldKind === "list") setFieldValue(message, field, [value, value]);
    else if (field.fieldKind === "map")
      setFieldValue(message, field, { [field.mapKey === ScalarType.BOOL ? "true" : "1"]: value });
    else setFieldValue(message, field, value);
  }
  return message;
}

function valueOf(field: DescField, depth: number): unknown {
  if (field.enum !== undefined) return field.enum.values.at(-1)!.number;
  if (field.message === undefined) return scalarOf(field.scalar!);
  if (isPlainStruct(field)) return { any: ["thing", 1, null] };
  if (isWrapperDesc(field.message) && field.fieldKind === "message" && field.oneof === undefined) {
    return scalarOf(field.message.fields[0].scalar as ScalarType);
  }
  return depth === 0 ? undefined : fullMessage(field.message, depth - 1);
}

function scalarOf(type: ScalarType): unknown {
  switch (type) {
    case ScalarType.STRING:
      return "text";
    case ScalarType.BOOL:
      return true;
    case ScalarType.BYTES:
      return new Uint8Array([1, 2]);
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return 7n;
    default:
      return 7;
  }
}
