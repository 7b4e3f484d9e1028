import type { IncomingMessage, ServerResponse } from "node:http";
import {
  create,
  type DescMethod,
  type DescMethodStreaming,
  type DescMethodUnary,
  type JsonValue,
  type Message,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { DEPRECATED, DEPRECATION_HEADER, usesDeprecated } from "./deprecation.js";
import { malformed, notAcceptable, unexpectedBody } from "./http-error.js";
import { methodName } from "./http-rule.js";
import type { StatusJson } from "./http-status.js";
import type { JsonCodec } from "./json-codec.js";
import { getFieldValue } from "./message-fields.js";
import { negotiateMediaType } from "./negotiation.js";
import { bindRequest, type RequestParts } from "./request-binding.js";
import { hasBody, readBody, readJsonBody } from "./request-body.js";
import { readRequestStream, type RequestStream } from "./request-stream.js";
import type { Route } from "./routes.js";
import { sendStream, type StreamItem, streamMediaTypes } from "./stream-response.js";
import type { TranscoderOptions } from "./transcoder.js";
import { sendJson } from "./unary-response.js";
import { wellKnownJson } from "./well-known-json.js";

/** What every call of a transcoder shares. */
export interface CallContext {
  readonly options: TranscoderOptions;
  readonly codec: JsonCodec;
  readonly transportOf: (method: DescMethod) => Transport;
  /** The status of an error, which is reported on the way. */
  readonly toStatus: (error: unknown, request: IncomingMessage, method: DescMethod) => StatusJson;
  readonly gzipThresholdBytes: number;
}

/** One HTTP request on its way to an RPC and back. */
export interface Exchange {
  readonly context: CallContext;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly route: Route;
  readonly pathVariables: RequestParts["pathVariables"];
  readonly query: RequestParts["query"];
}

/** What goes to the RPC beside its messages. */
interface Outgoing {
  readonly headers: Headers;
  readonly timeoutMs: number | undefined;
  readonly controller: AbortController;
}

/** The largest JSON body where the options say nothing, in bytes. */
export const defaultMaxBodyBytes = 4 * 1024 * 1024;
const jsonType = ["application/json"] as const;

/** Calls the RPC of a route with what the request holds and sends its answer. Rejects with what the client is told. */
export async function callRoute(exchange: Exchange): Promise<void> {
  const { context, request, response, route } = exchange;
  const { methodKind } = route.method;
  const streams = methodKind === "server_streaming" || methodKind === "bidi_streaming";
  const offered: readonly string[] = streams ? streamMediaTypes : jsonType;
  const mediaType = negotiateMediaType(request.headers.accept, offered);
  if (mediaType === undefined) throw notAcceptable(offered);
  if (usesDeprecated(route.method)) response.setHeader(DEPRECATION_HEADER, DEPRECATED);
  const outgoing = await prepare(exchange, streams);

  if (streams) {
    const messages = callStreaming(exchange, outgoing, await readMessages(exchange, outgoing));
    await sendStream(response, toItems(messages, exchange), {
      mediaType: mediaType as (typeof streamMediaTypes)[number],
      heartbeatMs: context.options.heartbeatMs ?? 15_000,
      toStatus: (error) => context.toStatus(error, request, route.method),
    });
  } else {
    const message =
      methodKind === "unary"
        ? await callUnary(exchange, outgoing, await readMessage(exchange))
        : await only(callStreaming(exchange, outgoing, await readMessages(exchange, outgoing)));
    const etag = request.method === "GET" || request.method === "HEAD";
    const { gzipThresholdBytes } = context;
    await sendJson(request, response, bodyToJson(message, exchange), { status: 200, gzipThresholdBytes, etag });
  }
}

/** Asks the hooks, before a body is read, and ties the call to the client's connection. */
async function prepare({ context, request, response, route }: Exchange, streams: boolean): Promise<Outgoing> {
  const { options } = context;
  const given = await options.requestHeaders?.(request, route.method);
  const headers = given instanceof Headers ? given : new Headers(given);
  const lastEventId = request.headers["last-event-id"];
  if (streams && typeof lastEventId === "string") {
    // gRPC's metadata takes no other characters; ids of ours have none.
    if (!/^[\x20-\x7e]*$/.test(lastEventId)) throw malformed("MALFORMED_HEADER", "Last-Event-ID must be the id of an event: printable ASCII.");
    headers.set("last-event-id", lastEventId);
  }
  const timeoutMs = shorter(options.timeoutMs?.(route.method), clientTimeoutMs(request));
  const controller = new AbortController();
  response.once("close", () => {
    if (response.writableFinished || options.keepRunning?.(request, route.method) === true) return;
    controller.abort(new ConnectError("the client has gone", Code.Canceled));
  });
  return { headers, timeoutMs, controller };
}

/** The message of a request that does not stream; a body where none belongs is refused instead of being ignored. */
async function readMessage({ context, request, response, route, pathVariables, query }: Exchange): Promise<Message> {
  const { method, binding } = route;
  const maxBodyBytes = context.options.maxBodyBytes ?? defaultMaxBodyBytes;
  let body: JsonValue | undefined;
  if (binding.body !== undefined) body = await readJsonBody(request, maxBodyBytes);
  else if (hasBody(request) && (await readBody(request, maxBodyBytes)).length > 0) throw unexpectedBody();
  const message = bindRequest(method.input, binding, { pathVariables, query, body }, context.codec);
  if (usesDeprecated(method, message)) response.setHeader(DEPRECATION_HEADER, DEPRECATED);
  return message;
}

/** The messages of a request; those of a streamed one are read while the call runs. */
async function readMessages(exchange: Exchange, { controller }: Outgoing): Promise<RequestStream> {
  const { context, request, route, pathVariables } = exchange;
  if (route.method.methodKind === "server_streaming") {
    const message = await readMessage(exchange);
    return { messages: justOne(message), failure: () => undefined };
  }
  return readRequestStream(request, {
    desc: route.method.input,
    binding: route.binding,
    pathVariables,
    codec: context.codec,
    multipart: context.options.multipart?.[methodName(route.method)],
    maxLineBytes: context.options.maxBodyBytes ?? defaultMaxBodyBytes,
    abort: (reason) => controller.abort(ConnectError.from(reason, Code.Canceled)),
  });
}

async function* justOne(message: Message): AsyncGenerator<Message> {
  yield message;
}

async function callUnary(exchange: Exchange, outgoing: Outgoing, message: Message): Promise<Message> {
  const method = exchange.route.method as DescMethodUnary;
  const { headers, timeoutMs, controller } = outgoing;
  const transport = exchange.context.transportOf(method);
  const answer = await transport.unary(method, controller.signal, timeoutMs, headers, message);
  passHeaders(exchange, () => answer.header);
  return answer.message;
}

/** Starts the RPC when the first message is asked for. A failure of the request's own stream replaces the call's. */
async function* callStreaming(exchange: Exchange, outgoing: Outgoing, input: RequestStream): AsyncGenerator<Message> {
  const method = exchange.route.method as DescMethodStreaming;
  const { headers, timeoutMs, controller } = outgoing;
  const transport = exchange.context.transportOf(method);
  try {
    const answer = await transport.stream(method, controller.signal, timeoutMs, headers, input.messages);
    passHeaders(exchange, () => answer.header);
    yield* answer.message;
  } catch (error) {
    throw input.failure() ?? error;
  }
}

function passHeaders({ context, response, route }: Exchange, upstream: () => Headers): void {
  const passed = response.headersSent ? undefined : context.options.responseHeaders?.(upstream(), route.method);
  for (const [name, value] of passed ?? []) response.setHeader(name, value);
}

async function* toItems(messages: AsyncIterable<Message>, exchange: Exchange): AsyncGenerator<StreamItem> {
  const idName = exchange.context.options.eventIdField ?? "event_id";
  const idField = exchange.route.method.output.fields.find((field) => field.name === idName);
  for await (const message of messages) {
    const id = idField === undefined ? undefined : getFieldValue(message, idField);
    yield { json: bodyToJson(message, exchange), id: id === undefined ? undefined : String(id) };
  }
}

/** The body of an answer; an unset field that is the body is shown with all of its own fields unset. */
function bodyToJson(message: Message, { context: { codec }, route }: Exchange): JsonValue {
  const field = route.binding.responseBody;
  if (field === undefined) return codec.toJson(route.method.output, message);
  const value = getFieldValue(message, field);
  if (value !== undefined) return codec.fieldToJson(field, value);
  const isObject = field.fieldKind === "message" && wellKnownJson(field.message) === undefined;
  return isObject ? codec.toJson(field.message, create(field.message)) : null;
}

/** The one message there is. The rest is awaited too: an error may still come behind it. */
async function only(messages: AsyncIterable<Message>): Promise<Message> {
  let first: Message | undefined;
  for await (const message of messages) first ??= message;
  if (first === undefined) throw new ConnectError("the call ended without an answer", Code.Internal);
  return first;
}

function clientTimeoutMs(request: IncomingMessage): number | undefined {
  const header = request.headers["x-request-timeout"];
  if (header === undefined) return undefined;
  const seconds = typeof header === "string" && /^\d{1,9}(\.\d{1,9})?$/.test(header) ? Number(header) : 0;
  if (seconds > 0) return Math.ceil(seconds * 1000);
  throw malformed("MALFORMED_HEADER", "X-Request-Timeout must be a number of seconds above 0.");
}

function shorter(ours: number | undefined, theirs: number | undefined): number | undefined {
  return ours === undefined || theirs === undefined ? (ours ?? theirs) : Math.min(ours, theirs);
}
