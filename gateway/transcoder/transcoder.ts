import type { IncomingMessage, ServerResponse } from "node:http";
import type { DescMethod, DescService, Registry } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { applyCors, answerOptions, checkCorsOptions, type CorsOptions } from "./cors.js";
import { malformed, methodNotAllowed, routeNotFound } from "./http-error.js";
import { toErrorResponse, withStandardDetails } from "./http-status.js";
import { JsonCodec } from "./json-codec.js";
import { methodName } from "./http-rule.js";
import { checkMultipartMapping, type MultipartMapping } from "./multipart.js";
import { parseQuery } from "./query-params.js";
import { type Route, routesOf, toRouteTable } from "./routes.js";
import { type CallContext, callRoute, defaultMaxBodyBytes } from "./rpc-call.js";
import { sendJson } from "./unary-response.js";

/** What the constructor of Headers takes. */
export type HeadersLike = ConstructorParameters<typeof Headers>[0];

/** What a transcoder needs and may be told. */
export interface TranscoderOptions {
  /** Services whose RPCs with a google.api.http option become routes. */
  readonly services: readonly DescService[];
  /** The way to a service; asked once for each. */
  readonly transport: (service: DescService) => Transport;
  /** Domain of the google.rpc.ErrorInfo that the HTTP layer's own errors carry. */
  readonly errorDomain: string;
  /** Messages that may stand in error details and google.protobuf.Any, beside those of google.rpc. */
  readonly registry?: Registry;
  /** Headers to send with the call. What it throws answers the request, before a body is read. */
  readonly requestHeaders?: (request: IncomingMessage, method: DescMethod) => HeadersLike | Promise<HeadersLike>;
  /** Headers to answer with, made of those that the call answered with. */
  readonly responseHeaders?: (
    upstream: Headers,
    method: DescMethod,
  ) => Iterable<readonly [name: string, value: string]>;
  /** Deadline of a call in milliseconds. Clients shorten it with the header X-Request-Timeout, in seconds. */
  readonly timeoutMs?: (method: DescMethod) => number | undefined;
  /** Whether a call goes on when its client has gone. Default: it is cancelled. */
  readonly keepRunning?: (request: IncomingMessage, method: DescMethod) => boolean;
  /** The largest JSON body, and the largest line of a streamed one, in bytes. Default 4 MiB. */
  readonly maxBodyBytes?: number;
  /** JSON answers of at least so many bytes are compressed. Default 1024. */
  readonly gzipThresholdBytes?: number;
  /** Time between heartbeats of an idle SSE stream, in milliseconds. Default 15,000. */
  readonly heartbeatMs?: number;
  /** Field of streamed messages that becomes the event's id. Default "event_id". */
  readonly eventIdField?: string;
  /** How uploads in multipart/form-data become messages, by the RPC's full name (package.Service.Method). */
  readonly multipart?: Readonly<Record<string, MultipartMapping>>;
  readonly cors?: CorsOptions;
  /**
   * Whether "%2F" in path variables of several segments (`{id=**}`) becomes "/". Default false: google.api.http leaves
   * it. Clients generated from OpenAPI encode every slash: they need it where ids hold slashes.
   */
  readonly decodeSlashes?: boolean;
  /** What happens without a route: a 404, or nothing and `handle` resolves to false. Default "answer". */
  readonly unknownRoute?: "answer" | "pass";
  /** Headers of an error's answer, beside those that errors have by themselves (Retry-After, Allow, ...). */
  readonly errorHeaders?: (error: unknown) => Readonly<Record<string, string>>;
  /** Told of everything that ended in an error answer, with the original error, for logs. */
  readonly onError?: (error: unknown, context: ErrorContext) => void;
}

/** Where an error happened. */
export interface ErrorContext {
  readonly request: IncomingMessage;
  /** Undefined when no route was found. */
  readonly method: DescMethod | undefined;
  /** The HTTP status that was answered; for a stream that had begun, the one it would have been. */
  readonly status: number;
}

/** REST/JSON in front of gRPC services. */
export interface Transcoder {
  /** Every HTTP method and path that is answered. */
  readonly routes: readonly Route[];
  /** Answers a request. Never rejects; resolves to false when it left the request alone. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<boolean>;
}

/**
 * Makes REST/JSON handlers of services by their google.api.http options.
 * Throws an Error naming the RPC when an option is wrong or two routes are the same.
 */
export function createTranscoder(options: TranscoderOptions): Transcoder {
  checkCorsOptions(options.cors);
  const routes = routesOf(options.services);
  for (const { method } of routes) {
    const multipart = options.multipart?.[methodName(method)];
    if (multipart !== undefined) checkMultipartMapping(method.input, multipart);
  }
  const table = toRouteTable(routes, { decodeSlashes: options.decodeSlashes ?? false });
  const registry = withStandardDetails(options.registry);
  const transports = new Map(options.services.map((service) => [service, options.transport(service)]));
  const gzipThresholdBytes = options.gzipThresholdBytes ?? 1024;
  const context: CallContext = {
    options,
    codec: new JsonCodec(registry),
    transportOf: (method) => transports.get(method.parent)!,
    toStatus: (error, request, method) => {
      const { status, body } = toErrorResponse(error, registry, options.errorDomain);
      options.onError?.(error, { request, method, status });
      return body;
    },
    gzipThresholdBytes,
  };

  async function answer(
    request: IncomingMessage,
    response: ServerResponse,
    found: { method?: DescMethod },
  ): Promise<boolean> {
    const httpMethod = request.method ?? "GET";
    const [path = "/", query = ""] = splitUrl(request.url ?? "/");
    const lookup = table.find(httpMethod, path);
    if (lookup.kind === "not_found" && options.unknownRoute === "pass") return false;
    applyCors(options.cors, request, response);
    switch (lookup.kind) {
      case "malformed":
        throw malformed("MALFORMED_URL", lookup.problem);
      case "not_found":
        throw routeNotFound(path);
      case "method_not_allowed":
        if (httpMethod !== "OPTIONS") throw methodNotAllowed(httpMethod, lookup.allow);
        answerOptions(options.cors, request, response, lookup.allow);
        return true;
      case "match": {
        found.method = lookup.route.method;
        const parameters = parseQuery(query);
        if (parameters === undefined) throw malformed("MALFORMED_URL", "The query is not percent-encoded UTF-8.");
        await callRoute({
          context,
          request,
          response,
          route: lookup.route,
          pathVariables: lookup.variables,
          query: parameters,
        });
        return true;
      }
    }
  }

  async function answerError(request: IncomingMessage, response: ServerResponse, error: unknown, method?: DescMethod) {
    // The client has gone, or the answer had begun: there is nobody to tell.
    if (response.destroyed || response.headersSent) return;
    const { status, headers, body } = toErrorResponse(error, registry, options.errorDomain);
    options.onError?.(error, { request, method, status });
    for (const [name, value] of Object.entries({ ...options.errorHeaders?.(error), ...headers })) response.setHeader(name, value);
    leaveBody(request, response, options.maxBodyBytes ?? defaultMaxBodyBytes);
    if (status === 413) await skipBody(request);
    await sendJson(request, response, body, { status, gzipThresholdBytes, etag: false });
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const found: { method?: DescMethod } = {};
    try {
      return await answer(request, response, found);
    } catch (error) {
      // What fails here is a hook: the connection must not wait for an answer that never comes.
      await answerError(request, response, error, found.method).catch(() => response.destroy());
      return true;
    }
  }

  return { routes, handle };
}

/** Proxies may send the whole URL: what is before the path does not matter here. */
function splitUrl(target: string): [path: string, query: string] {
  const url = target.replace(/^https?:\/\/[^/?]*/i, "");
  const mark = url.indexOf("?");
  return mark < 0 ? [url, ""] : [url.slice(0, mark), url.slice(mark + 1)];
}

/** How long a body that is too large is read on, in milliseconds. */
const SKIP_MS = 2_000;

/** Reads on for a while: a connection that is closed with bytes unread is reset, and the answer may be lost with it. */
async function skipBody(request: IncomingMessage): Promise<void> {
  if (request.complete) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(patience);
      resolve();
    };
    const patience = setTimeout(done, SKIP_MS);
    request.once("end", done).once("close", done).once("error", done).resume();
  });
}

/** A body that nobody reads blocks the connection: a short one is skipped, else the connection is closed. */
function leaveBody(request: IncomingMessage, response: ServerResponse, maxBodyBytes: number): void {
  if (request.complete) return;
  const length = Number(request.headers["content-length"] ?? Infinity);
  if (length <= maxBodyBytes) request.resume();
  else response.setHeader("connection", "close");
}
