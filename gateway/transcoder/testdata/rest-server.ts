import { createServer, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { type ConnectRouter, createRouterTransport } from "@connectrpc/connect";
import { expect } from "vitest";
import { toOpenApi } from "../../openapi/document.js";
import { responseCheck } from "../../openapi/testdata/response-check.js";
import { routesOf } from "../routes.js";
import { createTranscoder, type TranscoderOptions } from "../transcoder.js";
import { testRegistry, testService } from "./transcoding.js";

const services = [testService("Messaging"), testService("Library")];
const routes = routesOf(services);

/** Every JSON answer that a test sees must fit the OpenAPI document. */
const checkResponse = responseCheck(toOpenApi(routes, { title: "Library", version: "1.0.0", comments: {} }), routes);

/** An HTTP answer as a client sees it. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  /** The body as text. */
  readonly text: string;
  /** The body as JSON; undefined when it is not JSON. */
  readonly json: any;
}

/** What to ask. A body that is not a string or bytes is sent as JSON. */
export interface Ask {
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
}

/** A transcoder behind a real HTTP server on loopback. */
export interface RestServer extends AsyncDisposable {
  readonly port: number;
  /** Sends a request with its target as given, without any normalisation. */
  ask(method: string, target: string, ask?: Ask): Promise<Answer>;
}

/** Starts a server over handlers that are mounted without a port. */
export async function startRestServer(
  routes: (router: ConnectRouter) => void,
  options: Partial<TranscoderOptions> = {},
): Promise<RestServer> {
  const transport = createRouterTransport(routes);
  const transcoder = createTranscoder({
    services,
    transport: () => transport,
    registry: testRegistry,
    errorDomain: "library.example.com",
    ...options,
  });
  const handling = new Set<Promise<unknown>>();
  const server = createServer((request, response) => {
    const handled = transcoder.handle(request, response).finally(() => handling.delete(handled));
    handling.add(handled);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async ask(method, target, ask = {}) {
      const answer = await send(port, method, target, ask);
      if (answer.json !== undefined) expect(checkResponse(method, target, answer.status, answer.json)).toEqual([]);
      return answer;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      // A request that is never done with would leak, whatever its client saw.
      await Promise.all(handling);
    },
  };
}

function send(port: number, method: string, path: string, { headers = {}, body }: Ask): Promise<Answer> {
  const isRaw = typeof body === "string" || body instanceof Uint8Array;
  const bytes =
    body === undefined ? undefined : isRaw ? Buffer.from(body as string) : Buffer.from(JSON.stringify(body));
  const implied: Record<string, string> = {};
  if (bytes !== undefined && !isRaw) implied["content-type"] = "application/json";
  if (bytes !== undefined) implied["content-length"] = String(bytes.length);
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      port,
      host: "127.0.0.1",
      method,
      path,
      headers: { ...implied, ...headers },
      agent: false,
    });
    request.on("error", reject).on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("error", reject);
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const all = Buffer.concat(chunks);
        const text = all.toString();
        resolve({ status: response.statusCode!, headers: response.headers, bytes: all, text, json: tryJson(text) });
      });
    });
    request.end(bytes);
  });
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
