import type { DescMethod, JsonObject } from "@bufbuild/protobuf";
import { comments } from "../gen/comments.js";
import { Access } from "../gen/ragents/auth/v1/access_pb.js";
import { accessOf } from "../runtime/identity/access.js";
import { VERSION } from "../runtime/version.js";
import { openAiPart } from "./openai/openapi-paths.js";
import { toOpenApi } from "./openapi/document.js";
import type { MultipartMapping } from "./transcoder/multipart.js";
import type { Route } from "./transcoder/routes.js";

const DESCRIPTION = `Ingest documents, ask agents, and get answers that cite the passages they rely on.

Every answer has the header X-Request-Id, by which logs find the request. Answers with 429 or 503 say in Retry-After when to come
back. A mesh that has keys asks for one: \`Authorization: Bearer KEY\`.`;

/** The OpenAPI document of all that the gateway answers. */
export function apiDocument(routes: readonly Route[], multipart: Readonly<Record<string, MultipartMapping>>): JsonObject {
  const document = toOpenApi(routes, {
    title: "RAGents Mesh",
    version: VERSION,
    description: DESCRIPTION,
    license: { name: "MIT", identifier: "MIT" },
    comments,
    multipart,
    securitySchemes: {
      key: { type: "http", scheme: "bearer", description: "An API key or a token. A mesh without keys asks for none." },
    },
    defaultSecurity: [{ key: [] }],
    security: (method: DescMethod) => (accessOf(method) === Access.PUBLIC ? [] : undefined),
  });
  const { tags, paths, components } = document as { tags: JsonObject[]; paths: JsonObject; components: { schemas: JsonObject } };
  return {
    ...document,
    tags: [...tags, openAiPart.tag],
    paths: { ...paths, ...openAiPart.paths },
    components: { ...components, schemas: { ...components.schemas, ...openAiPart.schemas } },
  };
}
