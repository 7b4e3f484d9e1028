import { create } from "@bufbuild/protobuf";
import { Validator } from "@seriousme/openapi-schema-validator";
import { describe, expect, test } from "vitest";
import { comments as productComments } from "../../gen/comments.js";
import { AgentService } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { GatewayService } from "../../gen/ragents/gateway/v1/gateway_service_pb.js";
import { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { JsonCodec } from "../transcoder/json-codec.js";
import { getFieldValue } from "../transcoder/message-fields.js";
import { routesOf } from "../transcoder/routes.js";
import { testFiles, testService } from "../transcoder/testdata/transcoding.js";
import { collectComments } from "./collect-comments.js";
import { toOpenApi } from "./document.js";
import { responseCheck } from "./testdata/response-check.js";
import { fullMessage } from "./testdata/samples.js";

const meshRoutes = routesOf([RagService, AgentService, GatewayService]);
const meshDocument = toOpenApi(meshRoutes, { title: "RAGents Mesh", version: "1.0.0", comments: productComments });

const document = toOpenApi(routesOf([testService("Messaging"), testService("Library")]), {
  title: "Library",
  version: "1.0.0",
  comments: collectComments(testFiles),
  multipart: { "transcoding.v1.Library.UploadPages": { header: "header", data: "data" } },
  securitySchemes: { key: { type: "http", scheme: "bearer" } },
  defaultSecurity: [{ key: [] }],
  security: (method) => (method.name === "GetFile" ? [] : undefined),
}) as any;
const { schemas } = document.components;

describe("the document is valid OpenAPI 3.1", () => {
  test.each([
    { name: "of the tests", made: document },
    { name: "of the mesh", made: meshDocument },
  ])("$name", async ({ made }) => {
    const validator = new Validator();
    const result = await validator.validate(structuredClone(made));
    expect(result.errors ?? []).toEqual([]);
    expect(validator.version).toBe("3.1");
    expect(() => validator.resolveRefs()).not.toThrow();
    for (const [path, item] of Object.entries(made["paths"] as object)) {
      const inPath = [...path.matchAll(/{([^}]+)}/g)].map(([, name]) => name);
      for (const operation of Object.values(item) as any[]) {
        const declared = (operation.parameters ?? []).filter((parameter: any) => parameter.in === "path");
        expect(declared.map((parameter: any) => parameter.name)).toEqual(inPath);
      }
    }
  });

  test("operation ids are unique", () => {
    const ids = Object.values(document.paths).flatMap((item: any) =>
      Object.values(item).map((operation: any) => operation.operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toContain("Messaging_GetOfUser_2");
  });
});

describe("whatever an RPC answers fits the schema of its answer", () => {
  const codec = new JsonCodec();
  const check = responseCheck(meshDocument, meshRoutes);
  const unary = meshRoutes.filter((route) => route.method.methodKind === "unary");
  test.each(unary.map((route) => ({ route, name: `${route.httpMethod} ${route.binding.template.text}` })))(
    "$name",
    ({ route, name }) => {
      const target = route.binding.template.text.replaceAll(/{[^}]*}/g, "x");
      const { output } = route.method;
      const field = route.binding.responseBody;
      for (const message of [create(output), fullMessage(output)]) {
        const value = field && getFieldValue(message, field);
        if (field !== undefined && value === undefined) continue;
        const json = field === undefined ? codec.toJson(output, message) : codec.fieldToJson(field, value);
        expect(check(route.httpMethod, target, 200, json)).toEqual([]);
      }
      expect(check(route.httpMethod, target, 200, { unknown: name })).not.toEqual([]);
    },
  );
});

describe("an operation", () => {
  const get = document.paths["/v1/shelves/{name_shelves}/books/{name_books}"].get;

  test("says what the RPC's comment says, and which errors it names", () => {
    expect(get).toMatchObject({
      operationId: "Library_GetBook",
      tags: ["Library"],
      summary: "Returns a book",
      description: "Returns a book. NOT_FOUND when there is none.",
    });
    expect(Object.keys(get.responses)).toEqual(["200", "400", "404", "default"]);
    expect(get.responses["404"]).toEqual({
      description: "NOT_FOUND when there is none.",
      content: { "application/json": { schema: { $ref: "#/components/schemas/Status" } } },
    });
  });

  test("has the parts of a long path variable as parameters", () => {
    expect(get.parameters).toEqual([
      {
        name: "name_shelves",
        in: "path",
        required: true,
        description: "The resource name. A part of name.",
        schema: { type: "string" },
      },
      {
        name: "name_books",
        in: "path",
        required: true,
        description: "The resource name. A part of name.",
        schema: { type: "string" },
      },
    ]);
    expect(document.paths["/v1/files/{path}"].get.parameters[0].description).toContain("May hold slashes.");
  });

  test("has query parameters with their limits, nested ones by their path", () => {
    const { parameters } = document.paths["/v1/shelves/{parent_shelves}/books"].get;
    expect(parameters.slice(1)).toEqual([
      {
        name: "page_size",
        in: "query",
        description: "Books in the page, at most 100.",
        schema: { type: "integer", format: "int32", minimum: 0, maximum: 100 },
      },
      { name: "page_token", in: "query", description: "Where the page starts.", schema: { type: "string" } },
      {
        name: "bindings",
        in: "query",
        description: "Only books of these bindings.",
        schema: { type: "array", items: { $ref: "#/components/schemas/Binding" } },
      },
      {
        name: "language",
        in: "query",
        description: "Only books of this language; never did anything.",
        deprecated: true,
        schema: { type: "string" },
      },
    ]);
    const names = document.paths["/v2/messages/{message_id}"].get.parameters.map((parameter: any) => parameter.name);
    expect(names).toEqual(["message_id", "revision", "sub.subfield"]);
  });

  test("answers a field where response_body names one", () => {
    expect(get.responses["200"].content["application/json"].schema).toMatchObject({
      $ref: "#/components/schemas/Book",
    });
    const titles = document.paths["/v1/shelves/{parent_shelves}/titles"].get;
    expect(titles.responses["200"].content["application/json"].schema).toMatchObject({
      type: "array",
      items: { type: "string" },
    });
  });

  test("takes the body that its rule says", () => {
    const create = document.paths["/v1/shelves/{parent_shelves}/books"].post;
    expect(create.requestBody).toMatchObject({
      required: true,
      content: { "application/json": { schema: { $ref: "#/components/schemas/BookInput" } } },
    });
    const put = document.paths["/v1/shelves/{name_shelves}/books/{name_books}"].put;
    const { $ref } = put.requestBody.content["application/json"].schema;
    const whole = schemas[$ref.slice("#/components/schemas/".length)];
    expect(Object.keys(whole.properties)).not.toContain("name");
    expect(Object.keys(schemas.BookInput.properties)).toContain("name");
    expect(document.paths["/v1/shelves/{parent_shelves}/books"].get.requestBody).toBeUndefined();
  });

  test("streams as SSE and NDJSON, and goes on behind an event's id", () => {
    const watch = document.paths["/v1/shelves/{parent_shelves}/books:watch"].get;
    expect(Object.keys(watch.responses["200"].content)).toEqual(["text/event-stream", "application/x-ndjson"]);
    expect(watch.parameters.at(-1)).toMatchObject({ name: "Last-Event-ID", in: "header" });
  });

  test("takes an upload as a form", () => {
    const upload = document.paths["/v1/shelves/{name_shelves}/books/{name_books}/pages:upload"].post;
    const { properties } = upload.requestBody.content["multipart/form-data"].schema;
    expect(Object.keys(properties)).toEqual(["note", "metadata", "file"]);
  });

  test("names what security it needs where that differs", () => {
    expect(document.security).toEqual([{ key: [] }]);
    expect(document.paths["/v1/files/{path}"].get.security).toEqual([]);
    expect(get.security).toBeUndefined();
  });

  test("of an HTTP method that OpenAPI cannot name is left out", () => {
    expect(document.paths["/v1/probe"]).toBeUndefined();
    expect(document.paths["/v1/any"]).toBeUndefined();
  });
});

describe("a schema", () => {
  test("of a request has the limits of buf.validate", () => {
    expect(schemas.BookInput.required).toEqual(["title", "page_count"]);
    expect(schemas.BookInput.description).toBe("A book. At most one of shelf, reader is given.");
    expect(schemas.BookInput.examples).toEqual([
      { name: "shelves/1/books/2", title: "Middlemarch", binding: "HARDCOVER" },
    ]);
    expect(schemas.BookInput.properties).toMatchObject({
      title: {
        type: "string",
        minLength: 1,
        maxLength: 200,
        description: "The title, 1 to 200 characters.",
        examples: ["Middlemarch"],
      },
      page_count: { type: "integer", format: "int32", minimum: 1, exclusiveMaximum: 100000 },
      tags: {
        type: "array",
        maxItems: 10,
        uniqueItems: true,
        items: { type: "string", minLength: 1, pattern: "^[a-z]+$" },
      },
      price: { type: "number", format: "double", exclusiveMinimum: 0 },
      copies: { type: "object", maxProperties: 50, additionalProperties: { type: "integer", format: "int32" } },
      metadata: { type: "object", additionalProperties: true },
      create_time: { type: "string", format: "date-time" },
      scan_bytes: { type: "integer", format: "int64" },
      reader: { $ref: "#/components/schemas/ReaderInput" },
    });
    expect(schemas.ReaderInput).toMatchObject({
      required: ["name", "email"],
      properties: { email: { format: "email" } },
    });
  });

  test("requires the fields that an empty message lacks, by CEL rules too", () => {
    const mesh = (meshDocument["components"] as any).schemas;
    expect(mesh.QueryRequest.required).toEqual(["query"]);
    expect(mesh.CreateCollectionRequest.required).toEqual(["id"]);
    expect(mesh.IngestDocumentsRequest.required).toBeUndefined();
  });

  test("of an answer has the fields that are always there, and no limits", () => {
    expect(schemas.Book.required).toEqual(["name", "title", "page_count", "binding", "tags", "scan_bytes", "copies"]);
    expect(schemas.Book.properties.title).toEqual({
      type: "string",
      description: "The title, 1 to 200 characters.",
      examples: ["Middlemarch"],
    });
  });

  test("of an enum has the short names and what they mean", () => {
    expect(schemas.Binding).toEqual({
      type: "string",
      enum: ["UNSPECIFIED", "PAPERBACK", "HARDCOVER"],
      description: "What a book is made of.\n\n- PAPERBACK: Paper.\n- HARDCOVER: Boards.",
    });
  });

  test("may hold itself", () => {
    expect(schemas.Nested.properties.nested.$ref).toBe("#/components/schemas/Nested");
  });

  test("of the well-known types is their JSON", () => {
    expect(schemas.Kinds.properties).toMatchObject({
      a_bytes: { type: "string", contentEncoding: "base64" },
      an_uint64: { type: "integer", format: "uint64", minimum: 0 },
      duration: { type: "string" },
      int64_value: { type: "integer", format: "int64" },
      struct: { type: "object", additionalProperties: true },
      list_value: { type: "array" },
      any: { type: "object", required: ["@type"] },
      null_value: { type: "null" },
    });
    expect(schemas.Kinds.properties.value).toEqual({ description: "Value." });
  });
});
