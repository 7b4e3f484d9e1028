import type { IncomingMessage, ServerResponse } from "node:http";
import { cors as connectCors } from "@connectrpc/connect";
import { answerOptions, applyCors, type CorsOptions } from "./transcoder/cors.js";
import { HttpError } from "./transcoder/http-error.js";

const ALLOW = ["POST", "GET", "OPTIONS"];

/** What pages of other origins may read of answers to Connect and gRPC-Web, beside what they may read of REST. */
export const CONNECT_EXPOSED_HEADERS = connectCors.exposedHeaders;

/** CORS for calls by Connect and gRPC-Web; true when the request was answered by it. */
export function answerConnectCors(options: CorsOptions, request: IncomingMessage, response: ServerResponse): boolean {
  try {
    applyCors(options, request, response);
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    if (!request.complete) response.setHeader("connection", "close");
    const body = { code: "permission_denied", message: error.message };
    response.writeHead(error.status, { "content-type": "application/json" }).end(JSON.stringify(body));
    return true;
  }
  if (request.method !== "OPTIONS") return false;
  answerOptions(options, request, response, ALLOW);
  return true;
}
