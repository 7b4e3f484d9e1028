import type { JsonObject } from "@bufbuild/protobuf";
import { sentences } from "./comments.js";

/** The JSON Schemas of error answers. */
export const errorSchemas: JsonObject = {
  Status: {
    type: "object",
    description: "What went wrong: google.rpc.Status.",
    required: ["code", "message", "details"],
    properties: {
      code: { type: "integer", format: "int32", description: "The gRPC code, e.g. 5 for NOT_FOUND." },
      message: { type: "string", description: "For people." },
      details: { type: "array", items: { $ref: "#/components/schemas/ErrorDetail" }, description: "For programs." },
    },
  },
  ErrorDetail: {
    type: "object",
    description:
      'A message of the type that "@type" names. google.rpc.ErrorInfo says why (reason, domain, metadata), ' +
      "google.rpc.BadRequest names the fields at fault (field_violations), google.rpc.RetryInfo says when to come back " +
      "(retry_delay).",
    required: ["@type"],
    properties: {
      "@type": { type: "string", examples: ["type.googleapis.com/google.rpc.ErrorInfo"] },
      reason: { type: "string" },
      domain: { type: "string" },
      metadata: { type: "object", additionalProperties: { type: "string" } },
      field_violations: {
        type: "array",
        items: {
          type: "object",
          required: ["field", "description"],
          properties: {
            field: { type: "string", description: "Path of the field in the request message." },
            description: { type: "string", description: "What is wrong and what is expected." },
            reason: { type: "string" },
          },
        },
      },
      retry_delay: { type: "string" },
    },
  },
};

/** HTTP status of the gRPC codes that an RPC's comment may name. */
const statusByCodeName: Readonly<Record<string, string>> = {
  INVALID_ARGUMENT: "400",
  FAILED_PRECONDITION: "400",
  OUT_OF_RANGE: "400",
  UNAUTHENTICATED: "401",
  PERMISSION_DENIED: "403",
  NOT_FOUND: "404",
  ABORTED: "409",
  ALREADY_EXISTS: "409",
  RESOURCE_EXHAUSTED: "429",
  UNIMPLEMENTED: "501",
  UNAVAILABLE: "503",
  DEADLINE_EXCEEDED: "504",
};

/** The error answers of an RPC: those that its comment tells of ("NOT_FOUND when there is none."), and any other. */
export function errorResponses(description: string): JsonObject {
  const texts = new Map<string, string[]>([["400", ["The request does not fit the schema."]]]);
  for (const sentence of sentences(description)) {
    const code = /\b[A-Z]+(?:_[A-Z]+)*\b/g;
    const named = [...sentence.matchAll(code)]
      .map(([name]) => statusByCodeName[name])
      .filter((status) => status !== undefined);
    for (const status of new Set(named)) texts.set(status, [...(texts.get(status) ?? []), sentence]);
  }
  const responses = [...texts].map(([status, lines]) => [status, errorResponse(lines.join(" "))]);
  return { ...Object.fromEntries(responses), default: errorResponse("Any other error.") };
}

function errorResponse(description: string): JsonObject {
  return { description, content: { "application/json": { schema: { $ref: "#/components/schemas/Status" } } } };
}
