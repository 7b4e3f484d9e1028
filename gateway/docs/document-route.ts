import type { IncomingMessage, ServerResponse } from "node:http";
import type { JsonObject } from "@bufbuild/protobuf";
import { sendJson } from "../transcoder/unary-response.js";

/** Answers GET /openapi.json, for pages of every origin: it holds nothing that is anybody's. */
export function createDocumentRoute(document: JsonObject) {
  return {
    /** False for all other paths. */
    async handle(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
      if ((request.url ?? "").split("?", 1)[0] !== "/openapi.json") return false;
      response.setHeader("access-control-allow-origin", "*");
      if (request.method === "GET" || request.method === "HEAD") {
        response.setHeader("cache-control", "public, max-age=60");
        await sendJson(request, response, document, { status: 200, gzipThresholdBytes: 1024, etag: true });
      } else {
        response.writeHead(request.method === "OPTIONS" ? 204 : 405, { allow: "GET, HEAD, OPTIONS" }).end();
      }
      return true;
    },
  };
}
