import type { IncomingMessage, ServerResponse } from "node:http";
import { originNotAllowed } from "./http-error.js";

/** Which pages of other origins may call the API. Without it none may. */
export interface CorsOptions {
  /** Origins such as "https://app.example.com"; "*" allows every origin. */
  readonly allowedOrigins: readonly string[];
  /** Response headers that such pages may read beside the safe-listed ones. */
  readonly exposedHeaders?: readonly string[];
  /** Whether browsers may send cookies and client certificates. Default false; never together with "*". */
  readonly allowCredentials?: boolean;
  /** How long browsers may remember a preflight, in seconds. Default 600. */
  readonly maxAgeSeconds?: number;
}

const safeMethods = new Set(["GET", "HEAD", "OPTIONS"]);

/** Throws an Error when the options contradict each other. */
export function checkCorsOptions(options: CorsOptions | undefined): void {
  if (options?.allowCredentials === true && options.allowedOrigins.includes("*")) {
    throw new Error('CORS: credentials cannot be allowed for the origin "*"; list the origins.');
  }
}

/**
 * Sets the CORS headers of an answer. Throws 403 when a page of an origin that is not allowed calls a method that may
 * change something: browsers send some of these without asking, and would only hide the answer.
 */
export function applyCors(options: CorsOptions | undefined, request: IncomingMessage, response: ServerResponse): void {
  const origin = request.headers.origin;
  if (options !== undefined && !options.allowedOrigins.includes("*")) response.appendHeader("vary", "Origin");
  if (origin === undefined) return;
  const allowed = options?.allowedOrigins.includes("*")
    ? "*"
    : options?.allowedOrigins.find((known) => known === origin);
  if (allowed === undefined) {
    if (!safeMethods.has(request.method ?? "GET") && !isSameOrigin(origin, request)) throw originNotAllowed(origin);
    return;
  }
  response.setHeader("access-control-allow-origin", allowed);
  if (options?.allowCredentials === true) response.setHeader("access-control-allow-credentials", "true");
  const exposed = options?.exposedHeaders ?? [];
  if (exposed.length > 0) response.setHeader("access-control-expose-headers", exposed.join(", "));
}

/** Answers OPTIONS: the methods of the path, and to a browser's preflight what it may send. */
export function answerOptions(
  options: CorsOptions | undefined,
  request: IncomingMessage,
  response: ServerResponse,
  allow: readonly string[],
): void {
  response.setHeader("allow", allow.join(", "));
  if (
    request.headers["access-control-request-method"] !== undefined &&
    response.hasHeader("access-control-allow-origin")
  ) {
    response.setHeader("access-control-allow-methods", allow.join(", "));
    const headers = request.headers["access-control-request-headers"];
    if (headers !== undefined) response.setHeader("access-control-allow-headers", headers);
    response.setHeader("access-control-max-age", String(options?.maxAgeSeconds ?? 600));
    response.appendHeader("vary", "Access-Control-Request-Headers");
  }
  response.writeHead(204).end();
}

function isSameOrigin(origin: string, request: IncomingMessage): boolean {
  return URL.canParse(origin) && new URL(origin).host === request.headers.host;
}
