import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  type JsonValue,
  type Message,
} from "@bufbuild/protobuf";
import { type FieldPath, parentOf, resolveFieldPath, valueFromText } from "./field-path.js";
import { type HttpBinding, methodName } from "./http-rule.js";
import type { JsonCodec } from "./json-codec.js";
import { getFieldValue, setFieldValue } from "./message-fields.js";
import { type PathTemplate, parsePathTemplate } from "./path-template.js";
import { bindParameters } from "./query-params.js";
import { Violations } from "./violations.js";

/** How the parts of an HTTP request fill a request message, checked once when the routes are made. */
export interface RequestBinding {
  readonly template: PathTemplate;
  readonly pathFields: ReadonlyMap<string, FieldPath>;
  /** The whole message, one field of it, or no body. */
  readonly body: "*" | DescField | undefined;
  /** The response field that is the body; undefined for the whole message. */
  readonly responseBody: DescField | undefined;
}

/** The parts of one request. */
export interface RequestParts {
  readonly pathVariables: readonly (readonly [fieldPath: string, text: string])[];
  readonly query: readonly (readonly [name: string, value: string])[];
  /** The parsed body; undefined when it is empty. */
  readonly body: JsonValue | undefined;
}

/** Checks an HTTP rule against its RPC. Throws an Error naming both when they do not fit. */
export function compileBinding(method: DescMethod, rule: HttpBinding): RequestBinding {
  const fail = (problem: string): never => {
    throw new Error(`${methodName(method)}, ${rule.httpMethod} ${rule.path}: ${problem}.`);
  };
  const template = parsePathTemplate(rule.path);
  const pathFields = new Map<string, FieldPath>();
  for (const { fieldPath } of template.variables) {
    const path = resolveFieldPath(method.input, fieldPath) ?? fail(`the request has no field "${fieldPath}"`);
    const isPrimitive = path.leaf.fieldKind === "scalar" || path.leaf.fieldKind === "enum";
    if (!isPrimitive) fail(`"${fieldPath}" cannot be a path variable: it is not a single primitive value`);
    pathFields.set(fieldPath, path);
  }
  const topField = (message: DescMessage, name: string): DescField | undefined =>
    name === ""
      ? undefined
      : (message.fields.find((field) => field.name === name) ?? fail(`${message.name} has no field "${name}"`));
  return {
    template,
    pathFields,
    body: rule.body === "*" ? "*" : topField(method.input, rule.body),
    responseBody: topField(method.output, rule.responseBody),
  };
}

/** Builds the request message. Throws INVALID_ARGUMENT with every violation found. */
export function bindRequest(
  desc: DescMessage,
  binding: RequestBinding,
  parts: RequestParts,
  codec: JsonCodec,
): Message {
  const violations = new Violations();
  const message = create(desc);
  if (binding.body === "*") {
    if (parts.body !== undefined) codec.mergeJson(desc, message, parts.body, violations);
    for (const [name] of parts.query) {
      violations.add(
        resolveFieldPath(desc, name)?.name ?? name,
        "cannot be given in the query: this method takes its fields in the body",
      );
    }
  } else {
    const pathFields = [...binding.pathFields.values()].map((path) => path.name);
    bindParameters(desc, message, parts.query, { pathFields, bodyField: binding.body?.name ?? "" }, violations);
  }
  if (binding.body !== undefined && binding.body !== "*" && parts.body !== undefined) {
    const value = codec.fieldFromJson(binding.body, parts.body, violations, binding.body.name);
    if (value !== undefined) setFieldValue(message, binding.body, value);
  }
  bindPath(message, binding, parts.pathVariables, violations);
  violations.throwIfAny();
  return message;
}

/** Sets the fields of the path. A body may repeat a value of the path; another value is a violation. */
export function bindPath(
  message: Message,
  binding: RequestBinding,
  pathVariables: RequestParts["pathVariables"],
  violations: Violations,
): void {
  for (const [fieldPath, text] of pathVariables) {
    const path = binding.pathFields.get(fieldPath)!;
    const value = violations.guard(path.name, () => valueFromText(path.leaf, text));
    if (value === undefined) continue;
    const parent = parentOf(message, path);
    const inBody = getFieldValue(parent, path.leaf);
    const isUnset = inBody === undefined || inBody === "" || inBody === 0 || inBody === 0n || inBody === false;
    if (!isUnset && inBody !== value && !(inBody instanceof Uint8Array)) {
      violations.add(path.name, "differs between the URL's path and the body");
    }
    setFieldValue(parent, path.leaf, value);
  }
}
