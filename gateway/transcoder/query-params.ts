import type { DescMessage, Message } from "@bufbuild/protobuf";
import { fitsInText, parentOf, resolveFieldPath, valueFromText } from "./field-path.js";
import { getFieldValue, setFieldValue, setMemberOfOneof } from "./message-fields.js";
import { abridged } from "./scalar-json.js";
import type { Violations } from "./violations.js";

/** Splits the query of a URL ("a=1&b=%20") into decoded names and values; undefined when it is not valid UTF-8. */
export function parseQuery(query: string): [name: string, value: string][] | undefined {
  try {
    return query
      .split("&")
      .filter((part) => part !== "")
      .map((part) => {
        const equals = part.indexOf("=");
        const [name, value] = equals < 0 ? [part, ""] : [part.slice(0, equals), part.slice(equals + 1)];
        return [decode(name), decode(value)];
      });
  } catch {
    return undefined;
  }
}

function decode(text: string): string {
  return decodeURIComponent(text.replaceAll("+", " "));
}

/**
 * Sets request fields from named texts: query parameters, or the form fields of an upload. Names are field paths in
 * snake_case or camelCase; a repeated name fills a list. Names of the path's own fields and of `bodyField` are refused.
 */
export function bindParameters(
  desc: DescMessage,
  message: Message,
  parameters: readonly (readonly [name: string, value: string])[],
  taken: { readonly pathFields: readonly string[]; readonly bodyField: string },
  violations: Violations,
): void {
  const seen = new Set<string>();
  for (const [name, text] of parameters) {
    const path = resolveFieldPath(desc, name);
    if (path === undefined) {
      violations.add(abridged(name), "is not a known parameter");
      continue;
    }
    const { leaf } = path;
    const isList = leaf.fieldKind === "list";
    if (taken.pathFields.includes(path.name)) violations.add(path.name, "is given by the URL's path, not by its query");
    else if (path.fields[0]!.name === taken.bodyField)
      violations.add(path.name, "is given by the body, not by the query");
    else if (!fitsInText(leaf)) violations.add(path.name, notInText(leaf.fieldKind, leaf.message));
    else if (seen.has(path.name) && !isList) violations.add(path.name, "is given more than once");
    else {
      const value = violations.guard(path.name, () => valueFromText(leaf, text));
      if (value !== undefined) set(message, path, value, violations);
    }
    seen.add(path.name);
  }
}

function set(
  message: Message,
  path: NonNullable<ReturnType<typeof resolveFieldPath>>,
  value: unknown,
  violations: Violations,
) {
  for (const [i, field] of path.fields.entries()) {
    const parent = parentOf(message, { ...path, fields: path.fields.slice(0, i + 1) });
    const other = setMemberOfOneof(parent, field);
    if (other !== undefined && other !== field.name) {
      return violations.add(path.name, `cannot be given together with ${other}`);
    }
  }
  const parent = parentOf(message, path);
  if (path.leaf.fieldKind === "list") (getFieldValue(parent, path.leaf) as unknown[]).push(value);
  else setFieldValue(parent, path.leaf, value);
}

function notInText(kind: string, message: DescMessage | undefined): string {
  if (kind !== "message" || message === undefined || message.typeName.startsWith("google.protobuf.")) {
    return "holds JSON that a URL's query cannot carry";
  }
  return "is an object: give its fields one by one, with a dot before each name";
}
