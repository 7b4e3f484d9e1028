import type { IncomingMessage, ServerResponse } from "node:http";
import { type DescMethod, fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { createClient, ConnectError, Code, type Transport } from "@connectrpc/connect";
import { ConfigOverridesSchema } from "../../gen/ragents/agent/v1/agent_pb.js";
import { AgentService } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import type { Clock } from "../../runtime/clock.js";
import { applyCors, answerOptions, type CorsOptions } from "../transcoder/cors.js";
import { methodNotAllowed, routeNotFound } from "../transcoder/http-error.js";
import { withStandardDetails } from "../transcoder/http-status.js";
import { readJsonBody } from "../transcoder/request-body.js";
import { sendJson } from "../transcoder/unary-response.js";
import { chatRequestSchema, parseBody, toQuery } from "./chat-request.js";
import { type CallOptions, complete, streamCompletion } from "./chat-completions.js";
import { embed, embeddingsRequestSchema } from "./embeddings.js";
import { type EventStream, openEventStream } from "./event-stream.js";
import { getModel, listModels, type ModelSources } from "./models.js";
import { invalidParameter, type OpenAiErrorBody, toOpenAiError } from "./openai-error.js";
import { respond, streamResponse } from "./responses.js";
import { responsesRequestSchema, toChatRequest } from "./responses-request.js";

export interface OpenAiApiOptions {
  /** The way to a service. */
  readonly transport: (service: typeof AgentService | typeof RagService) => Transport;
  /** Headers to send with a call for a request. Rejects with what the client is told when it may not call. */
  readonly requestHeaders: (request: IncomingMessage, method: DescMethod) => Promise<Headers>;
  /** Deadline of a call, in milliseconds. */
  readonly timeoutMs: (method: DescMethod) => number;
  readonly maxBodyBytes: number;
  readonly cors: CorsOptions;
  readonly clock: Clock;
  /** Time between heartbeats of an idle stream, in milliseconds. Default 15,000. */
  readonly heartbeatMs?: number;
  /** Headers of an error's answer, beside those that errors have by themselves. */
  readonly errorHeaders?: (error: unknown) => Readonly<Record<string, string>>;
  /** Told of every failure that is not the client's, for logs. */
  readonly onError?: (error: unknown, status: number) => void;
}

/** One request and what is needed to answer it. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly signal: AbortSignal;
  /** How a call of this method is made for the request. */
  readonly call: (method: DescMethod) => Promise<CallOptions>;
  readonly body: () => Promise<JsonValue | undefined>;
}

interface Route {
  readonly path: RegExp;
  readonly method: "GET" | "POST";
  answer(exchange: Exchange, parameter: string): Promise<void>;
}

const GZIP_THRESHOLD_BYTES = 1024;
const registry = withStandardDetails(undefined);

/** The chat completions, responses, models and embeddings of OpenAI's API, answered by agents and embedding models. */
export interface OpenAiApi {
  /** Answers a request; false when its path is not of this API. Never rejects. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<boolean>;
}

/** Makes the API over the agent and rag services. */
export function createOpenAiApi(options: OpenAiApiOptions): OpenAiApi {
  const { clock } = options;
  const agent = createClient(AgentService, options.transport(AgentService));
  const rag = createClient(RagService, options.transport(RagService));
  const created = Math.floor(clock.now() / 1000);

  const json = ({ request, response }: Exchange, body: object) =>
    sendJson(request, response, body as JsonValue, { status: 200, gzipThresholdBytes: GZIP_THRESHOLD_BYTES, etag: request.method !== "POST" });
  const sources = ({ call }: Exchange): ModelSources => ({
    agent,
    rag,
    created,
    agentCall: () => call(AgentService.method.listAgents),
    ragCall: () => call(RagService.method.listEmbeddingModels),
  });

  /** Sends events; a failure behind the first of them is one too, as the API has it. */
  async function streamed(
    { response }: Exchange,
    work: (stream: EventStream) => Promise<void>,
    toEvent: (body: OpenAiErrorBody) => [data: object, name?: string],
  ): Promise<void> {
    const stream = openEventStream(response, options.heartbeatMs ?? 15_000);
    try {
      await work(stream);
    } catch (error) {
      if (!response.headersSent) throw error;
      const { status, body } = toOpenAiError(error, registry);
      if (status >= 500) options.onError?.(error, status);
      await stream.send(...toEvent(body));
    }
    stream.end();
  }

  const routes: readonly Route[] = [
    {
      path: /^\/v1\/chat\/completions$/,
      method: "POST",
      async answer(exchange) {
        const call = await exchange.call(AgentService.method.streamQuery);
        const request = parseBody(chatRequestSchema, await exchange.body());
        const query = toQuery(request, overridesOf);
        if (request.stream !== true) return json(exchange, await complete(agent, request, query, call, clock));
        await streamed(exchange, (stream) => streamCompletion(agent, request, query, call, { clock, stream }), (error) => [error]);
      },
    },
    {
      path: /^\/v1\/responses$/,
      method: "POST",
      async answer(exchange) {
        const call = await exchange.call(AgentService.method.streamQuery);
        const request = parseBody(responsesRequestSchema, await exchange.body());
        const query = toQuery(toChatRequest(request), overridesOf);
        if (request.stream !== true) return json(exchange, await respond(agent, request, query, call, clock));
        const failed = ({ error }: OpenAiErrorBody): [object, string] => [{ ...error, type: "error" }, "error"];
        await streamed(exchange, (stream) => streamResponse(agent, request, query, call, { clock, stream }), failed);
      },
    },
    {
      path: /^\/v1\/embeddings$/,
      method: "POST",
      async answer(exchange) {
        const call = await exchange.call(RagService.method.embedTexts);
        await json(exchange, await embed(rag, parseBody(embeddingsRequestSchema, await exchange.body()), call));
      },
    },
    { path: /^\/v1\/models$/, method: "GET", answer: async (exchange) => json(exchange, await listModels(sources(exchange))) },
    { path: /^\/v1\/models\/([^/]+)$/, method: "GET", answer: async (exchange, id) => json(exchange, await getModel(sources(exchange), id)) },
  ];

  async function answer(request: IncomingMessage, response: ServerResponse, found: { route: Route; parameter: string }) {
    applyCors(options.cors, request, response);
    const { route } = found;
    const allow = route.method === "GET" ? ["GET", "HEAD", "OPTIONS"] : ["POST", "OPTIONS"];
    if (request.method === "OPTIONS") return answerOptions(options.cors, request, response, allow);
    if (!allow.includes(request.method ?? "")) throw methodNotAllowed(request.method ?? "", allow);
    const controller = new AbortController();
    response.once("close", () => {
      if (!response.writableFinished) controller.abort(new ConnectError("the client has gone", Code.Canceled));
    });
    await route.answer(
      {
        request,
        response,
        signal: controller.signal,
        call: async (method) => ({
          headers: await options.requestHeaders(request, method),
          signal: controller.signal,
          timeoutMs: options.timeoutMs(method),
        }),
        body: () => readJsonBody(request, options.maxBodyBytes),
      },
      found.parameter,
    );
  }

  return {
    async handle(request, response) {
      const path = (request.url ?? "").split("?", 1)[0]!;
      const found = findRoute(routes, path);
      if (found === undefined) return false;
      try {
        if (found === "malformed") throw routeNotFound(path);
        await answer(request, response, found);
      } catch (error) {
        await answerError(request, response, error, options).catch(() => response.destroy());
      }
      return true;
    },
  };
}

function findRoute(routes: readonly Route[], path: string): { route: Route; parameter: string } | "malformed" | undefined {
  for (const route of routes) {
    const match = route.path.exec(path);
    if (match === null) continue;
    try {
      return { route, parameter: decodeURIComponent(match[1] ?? "") };
    } catch {
      return "malformed";
    }
  }
  return undefined;
}

function overridesOf(json: JsonObject) {
  try {
    return fromJson(ConfigOverridesSchema, json);
  } catch (error) {
    throw invalidParameter("config_overrides", error instanceof Error ? error.message : "does not fit");
  }
}

async function answerError(request: IncomingMessage, response: ServerResponse, error: unknown, { onError, errorHeaders, maxBodyBytes }: OpenAiApiOptions) {
  if (response.destroyed || response.headersSent) return;
  const { status, headers, body } = toOpenAiError(error, registry);
  if (status >= 500) onError?.(error, status);
  for (const [name, value] of Object.entries({ ...errorHeaders?.(error), ...headers })) response.setHeader(name, value);
  // A body that nobody reads blocks the connection.
  if (!request.complete) {
    if (Number(request.headers["content-length"] ?? Infinity) <= maxBodyBytes) request.resume();
    else response.setHeader("connection", "close");
  }
  await sendJson(request, response, body as unknown as JsonValue, { status, gzipThresholdBytes: GZIP_THRESHOLD_BYTES, etag: false });
}
