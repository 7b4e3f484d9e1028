import type { DescMethod, DescService, JsonObject } from "@bufbuild/protobuf";
import type { MultipartMapping } from "../transcoder/multipart.js";
import type { Route } from "../transcoder/routes.js";
import { type Comments, parseComment } from "./comments.js";
import { errorSchemas } from "./error-schemas.js";
import { openApiPath } from "./openapi-path.js";
import { tagOf, toOperation } from "./operation.js";
import { Schemas } from "./schemas.js";

/** What the document says beside what the descriptors tell. */
export interface OpenApiOptions {
  readonly title: string;
  readonly version: string;
  readonly description?: string;
  /** Where the API is served; "/" when empty. */
  readonly servers?: readonly { readonly url: string; readonly description?: string }[];
  readonly license?: { readonly name: string; readonly identifier?: string };
  /** The comments of the protos, which generated descriptors lack. */
  readonly comments: Comments;
  /** As given to the transcoder. */
  readonly multipart?: Readonly<Record<string, MultipartMapping>>;
  /** As given to the transcoder. Default "event_id". */
  readonly eventIdField?: string;
  /** components.securitySchemes, by name. */
  readonly securitySchemes?: JsonObject;
  /** What an RPC needs, as OpenAPI's security requirements; undefined for what holds for all. */
  readonly security?: (method: DescMethod) => readonly JsonObject[] | undefined;
  /** What every RPC needs that `security` says nothing of. */
  readonly defaultSecurity?: readonly JsonObject[];
}

const documentedMethods = new Set(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"]);

/**
 * The OpenAPI 3.1 document of a transcoder's routes. Routes of HTTP methods that OpenAPI cannot name are left out.
 * Throws when two routes have the same place in it.
 */
export function toOpenApi(routes: readonly Route[], options: OpenApiOptions): JsonObject {
  const { comments, multipart = {}, eventIdField = "event_id" } = options;
  const documented = routes.filter((route) => documentedMethods.has(route.httpMethod));
  const answers = documented.map((route) => route.method.output);
  const schemas = new Schemas(comments, answers, Object.keys(errorSchemas));
  const context = { schemas, comments, multipart, eventIdField };
  const paths: Record<string, JsonObject> = {};
  const bindings = new Map<DescMethod, number>();
  for (const route of documented) {
    const { path } = openApiPath(route.binding);
    const number = (bindings.get(route.method) ?? 0) + 1;
    bindings.set(route.method, number);
    const security = options.security?.(route.method);
    const item = (paths[path] ??= {});
    const httpMethod = route.httpMethod.toLowerCase();
    if (httpMethod in item) throw new Error(`OpenAPI: ${route.httpMethod} ${path} stands for two routes.`);
    item[httpMethod] = {
      operationId: operationId(route.method, number),
      ...toOperation(route, context),
      ...(security === undefined ? {} : { security: [...security] }),
    };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: options.title,
      version: options.version,
      ...(options.description === undefined ? {} : { description: options.description }),
      ...(options.license === undefined ? {} : { license: { ...options.license } }),
    },
    servers: (options.servers ?? [{ url: "/" }]).map((server) => ({ ...server })),
    tags: servicesOf(documented).map((service) => tag(service, comments)),
    ...(options.defaultSecurity === undefined ? {} : { security: [...options.defaultSecurity] }),
    paths,
    components: {
      schemas: { ...schemas.components(), ...errorSchemas },
      ...(options.securitySchemes === undefined ? {} : { securitySchemes: options.securitySchemes }),
    },
  };
}

/** Stable: an RPC added to another service never changes it. Additional bindings are numbered. */
function operationId(method: DescMethod, number: number): string {
  return `${method.parent.name}_${method.name}${number === 1 ? "" : `_${number}`}`;
}

function servicesOf(routes: readonly Route[]): DescService[] {
  return [...new Set(routes.map((route) => route.method.parent))];
}

function tag(service: DescService, comments: Comments): JsonObject {
  const { description } = parseComment(comments[service.typeName]);
  return { name: tagOf(service.name), ...(description === "" ? {} : { description }) };
}
