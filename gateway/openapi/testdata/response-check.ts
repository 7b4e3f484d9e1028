import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import type { Route } from "../../transcoder/routes.js";
import { toRouteTable } from "../../transcoder/routes.js";
import { openApiPath } from "../openapi-path.js";

/** Returns what is wrong with a JSON answer by the OpenAPI document; empty when it fits. */
export type ResponseCheck = (method: string, target: string, status: number, json: JsonValue) => string[];

/** A check that knows no fields beside those of the document, so that it sees what the document forgets. */
export function responseCheck(document: JsonObject, routes: readonly Route[]): ResponseCheck {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  for (const format of ["uint32", "uint64"]) ajv.addFormat(format, true);
  ajv.addSchema({ ...(closed(document) as object), $id: "doc" });
  const table = toRouteTable(routes);
  const validators = new Map<string, ValidateFunction>();

  return (method, target, status, json) => {
    const path = target.replace(/^http:..[^/]*/, "").split("?")[0]!;
    const lookup = table.find(method, path);
    const pointer = lookup.kind === "match" && status < 400 ? responsePointer(document, lookup.route) : errorPointer;
    if (pointer === undefined) return [];
    const validate = validators.get(pointer) ?? ajv.compile({ $ref: `doc#${pointer}` });
    validators.set(pointer, validate);
    return validate(json)
      ? []
      : validate.errors!.map((error) => `${method} ${target}: ${error.instancePath} ${error.message}`);
  };
}

const errorPointer = "/components/schemas/Status";

/** Undefined for routes that the document leaves out. */
function responsePointer(document: JsonObject, { httpMethod, binding }: Route): string | undefined {
  const { path } = openApiPath(binding);
  const place = [path, httpMethod.toLowerCase()];
  const operation = place.reduce<any>((at, key) => at?.[key], document["paths"]);
  if (operation === undefined) return undefined;
  const steps = ["paths", ...place, "responses", "200", "content", "application/json", "schema"];
  return `/${steps.map((step) => encodeURIComponent(step.replaceAll("~", "~0").replaceAll("/", "~1"))).join("/")}`;
}

function closed(schema: JsonValue): JsonValue {
  if (Array.isArray(schema)) return schema.map(closed);
  if (schema === null || typeof schema !== "object") return schema;
  const copy: JsonObject = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  const isObject = schema["type"] === "object" && schema["properties"] !== undefined;
  return isObject && !("additionalProperties" in schema) ? { ...copy, additionalProperties: false } : copy;
}
