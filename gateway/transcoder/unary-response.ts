import { hash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { JsonValue } from "@bufbuild/protobuf";
import { acceptsGzip } from "./negotiation.js";

const gzipAsync = promisify(gzip);

/** How a JSON answer is sent. */
export interface JsonResponseOptions {
  readonly status: number;
  /** Bodies of at least so many bytes are compressed when the client accepts it. */
  readonly gzipThresholdBytes: number;
  /** Whether the answer gets an ETag and If-None-Match is honoured. */
  readonly etag: boolean;
}

/** Sends JSON, with 304 instead of a body that the client has. Headers set on the response before are kept. */
export async function sendJson(
  request: IncomingMessage,
  response: ServerResponse,
  json: JsonValue,
  options: JsonResponseOptions,
): Promise<void> {
  const body = JSON.stringify(json);
  response.setHeader("content-type", "application/json");
  response.appendHeader("vary", "Accept-Encoding");
  if (options.etag) {
    const etag = weakEtag(body);
    response.setHeader("etag", etag);
    if (!response.hasHeader("cache-control")) response.setHeader("cache-control", "private, no-cache");
    if (matchesEtag(request.headers["if-none-match"], etag)) {
      response.removeHeader("content-type");
      response.writeHead(304).end();
      return;
    }
  }
  const size = Buffer.byteLength(body);
  const compress = size >= options.gzipThresholdBytes && acceptsGzip(request.headers["accept-encoding"]);
  if (compress) response.setHeader("content-encoding", "gzip");
  // A string leaves in one write with the headers; a buffer would take a second one.
  const sent = compress ? await gzipAsync(body) : body;
  response.setHeader("content-length", typeof sent === "string" ? size : sent.length);
  response.writeHead(options.status).end(sent);
}

/** Weak: the same answer compressed has other bytes under the same tag. */
function weakEtag(body: string): string {
  return `W/"${hash("sha256", body, "base64url").slice(0, 22)}"`;
}

function matchesEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  const opaque = etag.slice(2);
  return ifNoneMatch.split(",").some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === opaque);
}
