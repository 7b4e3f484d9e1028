import { type DescField, type DescMessage, type DescMethod, isFieldSet, type Message } from "@bufbuild/protobuf";

/** The header by which an answer says that what was used will go (RFC 9745). */
export const DEPRECATION_HEADER = "deprecation";

/** Since when: protos do not say, and the epoch is in the past, which is what counts. */
export const DEPRECATED = "@0";

const deprecatedFields = new WeakMap<DescMessage, readonly DescField[]>();

/** Whether a request uses what its proto marks `deprecated`: the RPC itself, or a field of the message. */
export function usesDeprecated({ deprecated, input }: DescMethod, message?: Message): boolean {
  if (deprecated) return true;
  let fields = deprecatedFields.get(input);
  if (fields === undefined) {
    fields = input.fields.filter((field) => field.deprecated);
    deprecatedFields.set(input, fields);
  }
  return message !== undefined && fields.some((field) => isFieldSet(message, field));
}
