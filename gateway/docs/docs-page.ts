import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { acceptsGzip } from "../transcoder/negotiation.js";

const compress = promisify(gzip);

/** Nothing comes from elsewhere, nothing is inline, and no other page frames it. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>RAGents Mesh API</title>
    <link rel="stylesheet" href="/docs/swagger-ui.css">
    <link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
  </head>
  <body>
    <noscript>This page needs JavaScript; the same is in <a href="/openapi.json">openapi.json</a>.</noscript>
    <main id="docs"></main>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;

const START = `SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  persistAuthorization: false,
  validatorUrl: null,
});
`;

/** A file of the page, with what it takes to send it. */
interface Asset {
  readonly type: string;
  readonly body: Buffer;
  readonly gzipped: Buffer;
  readonly etag: string;
}

/** The page that shows the API's description to people, with all that it is made of. */
export interface DocsPage {
  /** Answers /docs and what lies below it; false for all other paths. Never rejects. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<boolean>;
}

/** Makes the page of Swagger UI's files; they are read when they are first asked for. */
export function createDocsPage(): DocsPage {
  const viewer = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
  const ofViewer = (name: string) => () => readFile(join(viewer, name));
  const sources: Readonly<Record<string, { type: string; read: () => Promise<Buffer> }>> = {
    "/docs": { type: "text/html; charset=utf-8", read: async () => Buffer.from(PAGE) },
    "/docs/start.js": { type: "text/javascript; charset=utf-8", read: async () => Buffer.from(START) },
    "/docs/swagger-ui-bundle.js": { type: "text/javascript; charset=utf-8", read: ofViewer("swagger-ui-bundle.js") },
    "/docs/swagger-ui.css": { type: "text/css; charset=utf-8", read: ofViewer("swagger-ui.css") },
    "/docs/favicon-32x32.png": { type: "image/png", read: ofViewer("favicon-32x32.png") },
  };
  const loaded = new Map<string, Promise<Asset>>();
  const assetAt = (path: string): Promise<Asset> | undefined => {
    const source = sources[path];
    if (source !== undefined && !loaded.has(path)) loaded.set(path, source.read().then((body) => toAsset(source.type, body)));
    return loaded.get(path);
  };

  return {
    async handle(request, response) {
      const path = (request.url ?? "").split("?", 1)[0]!;
      if (path !== "/docs" && !path.startsWith("/docs/")) return false;
      if (request.method !== "GET" && request.method !== "HEAD") {
        response.writeHead(405, { allow: "GET, HEAD" }).end();
      } else if (path === "/docs/") {
        response.writeHead(308, { location: "/docs" }).end();
      } else {
        const asset = await assetAt(path)?.catch(() => undefined);
        if (asset === undefined) response.writeHead(404, { "content-type": "text/plain" }).end("There is no such page; see /docs.\n");
        else send(request, response, asset);
      }
      return true;
    },
  };
}

async function toAsset(type: string, body: Buffer): Promise<Asset> {
  const etag = `W/"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
  return { type, body, gzipped: await compress(body), etag };
}

function send(request: IncomingMessage, response: ServerResponse, { type, body, gzipped, etag }: Asset): void {
  response.setHeader("etag", etag);
  response.setHeader("cache-control", "public, max-age=300");
  response.setHeader("vary", "Accept-Encoding");
  response.setHeader("content-security-policy", POLICY);
  response.setHeader("x-content-type-options", "nosniff");
  response.setHeader("referrer-policy", "no-referrer");
  if (request.headers["if-none-match"] === etag) {
    response.writeHead(304).end();
    return;
  }
  const small = acceptsGzip(request.headers["accept-encoding"]);
  if (small) response.setHeader("content-encoding", "gzip");
  const sent = small ? gzipped : body;
  response.writeHead(200, { "content-type": type, "content-length": sent.length }).end(sent);
}
