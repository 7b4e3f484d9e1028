import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { http } from "../../gen/google/api/annotations_pb.js";
import type { HttpRule } from "../../gen/google/api/http_pb.js";

/** One way to reach an RPC over HTTP. */
export interface HttpBinding {
  /** Upper-case HTTP method; "*" for any. */
  readonly httpMethod: string;
  /** Path template, unparsed. */
  readonly path: string;
  /** "*", the name of a request field, or "" for no body. */
  readonly body: string;
  /** The name of a response field, or "" for the whole message. */
  readonly responseBody: string;
}

/** The rule of an RPC's google.api.http option and its additional bindings, in order; empty without the option. */
export function httpBindings(method: DescMethod): HttpBinding[] {
  if (!hasOption(method, http)) return [];
  const rule = getOption(method, http);
  if (rule.additionalBindings.some((nested) => nested.additionalBindings.length > 0)) {
    throw new Error(`${methodName(method)}: additional_bindings must not hold additional_bindings.`);
  }
  return [rule, ...rule.additionalBindings].map((each) => toBinding(method, each));
}

/** The full name of an RPC: package.Service.Method. */
export function methodName(method: DescMethod): string {
  return `${method.parent.typeName}.${method.name}`;
}

function toBinding(method: DescMethod, { pattern, body, responseBody }: HttpRule): HttpBinding {
  switch (pattern.case) {
    case undefined:
      throw new Error(`${methodName(method)}: its google.api.http option has no path.`);
    case "custom":
      return { httpMethod: pattern.value.kind.toUpperCase(), path: pattern.value.path, body, responseBody };
    default:
      return { httpMethod: pattern.case.toUpperCase(), path: pattern.value, body, responseBody };
  }
}
