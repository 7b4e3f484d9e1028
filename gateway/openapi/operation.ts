import type { DescField, DescMessage, JsonObject } from "@bufbuild/protobuf";
import { fitsInText } from "../transcoder/field-path.js";
import { methodName } from "../transcoder/http-rule.js";
import { findField } from "../transcoder/message-fields.js";
import type { MultipartMapping } from "../transcoder/multipart.js";
import type { Route } from "../transcoder/routes.js";
import { wellKnownJson } from "../transcoder/well-known-json.js";
import { type Comments, parseComment } from "./comments.js";
import { errorResponses } from "./error-schemas.js";
import { openApiPath, type PathParameter } from "./openapi-path.js";
import type { Schemas } from "./schemas.js";
import { requiredFields, type Schema } from "./validation-rules.js";

/** What operations are made with. */
export interface OperationContext {
  readonly schemas: Schemas;
  readonly comments: Comments;
  readonly multipart: Readonly<Record<string, MultipartMapping>>;
  readonly eventIdField: string;
}

/** Parameters of the query nest at most so deep: messages may hold themselves. */
const maxQueryDepth = 4;

/** The operation of a route, without its id. */
export function toOperation(route: Route, context: OperationContext): JsonObject {
  const { method } = route;
  const { summary, description } = parseComment(context.comments[methodName(method)]);
  const parameters = [
    ...pathParameters(route, context),
    ...queryParameters(route, context),
    ...headerParameters(route, context),
  ];
  const requestBody = toRequestBody(route, context);
  return {
    tags: [tagOf(method.parent.name)],
    ...(summary === "" ? {} : { summary }),
    ...(description === "" ? {} : { description }),
    ...(method.deprecated ? { deprecated: true } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(requestBody === undefined ? {} : { requestBody }),
    responses: { "200": toResponse(route, context), ...errorResponses(description) },
  };
}

/** The tag of a service: its name without "Service". */
export function tagOf(serviceName: string): string {
  return serviceName.replace(/(?<=.)Service$/, "");
}

function pathParameters(route: Route, { schemas }: OperationContext): JsonObject[] {
  return openApiPath(route.binding).parameters.map((parameter) => {
    const field = route.binding.pathFields.get(parameter.fieldPath)?.leaf;
    const { description, ...schema } = field === undefined ? { type: "string" } : schemas.field(field, "request");
    const text = [description, pathNote(parameter)].filter((part) => typeof part === "string" && part !== "").join(" ");
    return {
      name: parameter.name,
      in: "path",
      required: true,
      ...(text === "" ? {} : { description: text }),
      schema: parameter.isWhole ? schema : { type: "string" },
    };
  });
}

function pathNote({ isRest, isWhole, fieldPath }: PathParameter): string {
  if (isRest) return "May hold slashes.";
  return isWhole || fieldPath === "" ? "" : `A part of ${fieldPath}.`;
}

function queryParameters({ method, binding }: Route, context: OperationContext): JsonObject[] {
  if (binding.body === "*") return [];
  const taken = new Set([...binding.pathFields.values()].map((path) => path.name));
  if (binding.body !== undefined) taken.add(binding.body.name);
  return fieldsInText(method.input, "", taken, maxQueryDepth).map(({ name, field }) => {
    const { description, examples, deprecated, ...schema } = context.schemas.field(field, "request");
    const required = requiredFields(method.input).has(name);
    return {
      name,
      in: "query",
      ...(required ? { required } : {}),
      ...(description === undefined ? {} : { description }),
      ...(deprecated === undefined ? {} : { deprecated }),
      schema: examples === undefined ? schema : { ...schema, examples },
    };
  });
}

/** The fields that a query can give, with their paths. */
function fieldsInText(
  desc: DescMessage,
  path: string,
  taken: ReadonlySet<string>,
  depth: number,
): { name: string; field: DescField }[] {
  return desc.fields.flatMap((field) => {
    const name = path + field.name;
    if (taken.has(name)) return [];
    if (fitsInText(field)) return [{ name, field }];
    const isObject = field.fieldKind === "message" && wellKnownJson(field.message) === undefined;
    return isObject && depth > 1 ? fieldsInText(field.message, `${name}.`, taken, depth - 1) : [];
  });
}

function headerParameters({ method }: Route, { eventIdField }: OperationContext): JsonObject[] {
  const hasId =
    method.methodKind === "server_streaming" && method.output.fields.some(({ name }) => name === eventIdField);
  if (!hasId) return [];
  const description = "The id of the last event that was received: the stream goes on behind it.";
  return [{ name: "Last-Event-ID", in: "header", description, schema: { type: "string" } }];
}

function toRequestBody(route: Route, context: OperationContext): JsonObject | undefined {
  const { method, binding } = route;
  const { schemas } = context;
  if (method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming")
    return streamedBody(route, context);
  if (binding.body === undefined) return undefined;
  if (binding.body !== "*") {
    const schema = schemas.field(binding.body, "request");
    return {
      required: requiredFields(method.input).has(binding.body.name),
      content: { "application/json": { schema } },
    };
  }
  const inPath = [...binding.pathFields.keys()].filter((name) => !name.includes("."));
  const rest = method.input.fields.filter(({ name }) => !inPath.includes(name));
  if (rest.length === 0) return undefined;
  const schema = schemas.message(method.input, "request", inPath);
  return {
    required: rest.some((field) => requiredFields(method.input).has(field.name)),
    content: { "application/json": { schema } },
  };
}

function streamedBody({ method, binding }: Route, { schemas, multipart }: OperationContext): JsonObject {
  const lines = { "application/x-ndjson": { schema: schemas.message(method.input, "request") } };
  const mapping = multipart[methodName(method)];
  const header = mapping && findField(method.input, mapping.header)?.message;
  if (mapping === undefined || header === undefined) {
    return { required: true, description: "One message a line.", content: lines };
  }
  const inPath = [...binding.pathFields.values()].map((path) => path.name);
  const fields = header.fields.filter((field) => !inPath.includes(`${mapping.header}.${field.name}`));
  const properties = Object.fromEntries(
    fields.map((field): [string, Schema] => [field.name, schemas.field(field, "request")]),
  );
  const files = { type: "array", items: { type: "string", contentMediaType: "application/octet-stream" } };
  const form = {
    type: "object",
    properties: { ...properties, file: { ...files, description: "The files, after all other fields." } },
  };
  return { required: true, content: { "multipart/form-data": { schema: form }, ...lines } };
}

const streamNote =
  "As SSE the data of each event is one message; the last event is `end`, or `error` with a Status. " +
  "As NDJSON each line is one message.";

function toResponse(route: Route, { schemas, comments }: OperationContext): JsonObject {
  const { method, binding } = route;
  const { output } = method;
  const schema = binding.responseBody
    ? schemas.field(binding.responseBody, "response")
    : schemas.message(output, "response");
  const own = parseComment(comments[output.typeName]).summary;
  if (method.methodKind === "unary" || method.methodKind === "client_streaming") {
    return { description: own === "" ? "The answer." : own, content: { "application/json": { schema } } };
  }
  const description = `${own === "" ? "The messages" : own}. ${streamNote}`;
  return { description, content: { "text/event-stream": { schema }, "application/x-ndjson": { schema } } };
}
