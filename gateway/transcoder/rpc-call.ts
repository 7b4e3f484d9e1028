import type { IncomingMessage, ServerResponse } from "node:http";
import {
  create,
  type DescField,
  type DescMethod,
  type DescMethodStreaming,
  type DescMethodUnary,
  type JsonValue,
  type Message,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
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

const jsonType = ["application/json"] as const;
/** The largest JSON body where the options say nothing, in bytes. */
export const defaultMaxBodyBytes = 4 * 1024 * 1024;

/** Calls the RPC of a route with what the request holds and sends its answer. Rejects with what the client is told. */
export async function callRoute(
  context: CallContext,
  request: IncomingMessage,
  response: ServerResponse,
  route: Route,
  pathVariables: RequestParts["pathVariables"],
  query: RequestParts["query"],
): Promise<void> {
  const { options, codec } = context;
  const { method } = route;
  const streamsAnswer = method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
  const offered: readonly string[] = streamsAnswer ? streamMediaTypes : jsonType;
  const mediaType = negotiateMediaType(request.headers.accept, offered);
  if (mediaType === undefined) throw notAcceptable(offered);

  const headers = new Headers(await options.requestHeaders?.(request, method));
  const lastEventId = request.headers["last-event-id"];
  if (streamsAnswer && typeof lastEventId === "string") headers.set("last-event-id", lastEventId);
  const timeoutMs = shorter(options.timeoutMs?.(method), clientTimeoutMs(request));
  const controller = new AbortController();
  response.once("close", () => {
    if (response.writableFinished || options.keepRunning?.(request, method) === true) return;
    controller.abort(new ConnectError("the client has gone", Code.Canceled));
  });

  const input = await readInput(context, request, route, pathVariables, query, controller);
  const upstream = startCall(context, method, controller.signal, timeoutMs, headers, input, (header) => {
    if (response.headersSent) return;
    for (const [name, value] of options.responseHeaders?.(header, method) ?? []) response.setHeader(name, value);
  });

  if (streamsAnswer) {
    const idField = method.output.fields.find((field) => field.name === (options.eventIdField ?? "event_id"));
    await sendStream(response, toItems(upstream, route, codec, idField), {
      mediaType: mediaType as (typeof streamMediaTypes)[number],
      heartbeatMs: options.heartbeatMs ?? 15_000,
      toStatus: (error) => context.toStatus(error, request, method),
    });
  } else {
    const json = bodyToJson(await only(upstream), route, codec);
    const etag = request.method === "GET" || request.method === "HEAD";
    await sendJson(request, response, json, { status: 200, gzipThresholdBytes: context.gzipThresholdBytes, etag });
  }
}

/** The request messages of the call; those of a streamed request are read while the call runs. */
async function readInput(
  { options, codec }: CallContext,
  request: IncomingMessage,
  { method, binding }: Route,
  pathVariables: RequestParts["pathVariables"],
  query: RequestParts["query"],
  controller: AbortController,
): Promise<RequestStream> {
  const maxBodyBytes = options.maxBodyBytes ?? defaultMaxBodyBytes;
  if (method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming") {
    const multipart = options.multipart?.[methodName(method)];
    const abort = (reason: unknown): void => controller.abort(ConnectError.from(reason, Code.Canceled));
    return readRequestStream(request, {
      desc: method.input,
      binding,
      pathVariables,
      codec,
      multipart,
      maxLineBytes: maxBodyBytes,
      abort,
    });
  }
  let body: JsonValue | undefined;
  if (binding.body !== undefined) body = await readJsonBody(request, maxBodyBytes);
  else if (hasBody(request) && (await readBody(request, maxBodyBytes)).length > 0) throw unexpectedBody();
  const message = bindRequest(method.input, binding, { pathVariables, query, body }, codec);
  return { messages: justOne(message), failure: () => undefined };
}

async function* justOne(message: Message): AsyncGenerator<Message> {
  yield message;
}

/** Starts the RPC when the first message is asked for. A failure of the request's own stream replaces the call's. */
async function* startCall(
  context: CallContext,
  method: DescMethod,
  signal: AbortSignal,
  timeoutMs: number | undefined,
  headers: Headers,
  input: RequestStream,
  onHeader: (header: Headers) => void,
): AsyncGenerator<Message> {
  const transport = context.transportOf(method);
  try {
    if (method.methodKind === "unary") {
      const answer = await transport.unary(
        method as DescMethodUnary,
        signal,
        timeoutMs,
        headers,
        await only(input.messages),
      );
      onHeader(answer.header);
      yield answer.message;
    } else {
      const answer = await transport.stream(method as DescMethodStreaming, signal, timeoutMs, headers, input.messages);
      onHeader(answer.header);
      yield* answer.message;
    }
  } catch (error) {
    throw input.failure() ?? error;
  }
}

async function* toItems(
  messages: AsyncIterable<Message>,
  route: Route,
  codec: JsonCodec,
  idField: DescField | undefined,
): AsyncGenerator<StreamItem> {
  for await (const message of messages) {
    const id = idField === undefined ? undefined : getFieldValue(message, idField);
    yield { json: bodyToJson(message, route, codec), id: id === undefined ? undefined : String(id) };
  }
}

/** The body of an answer; an unset field that is the body is shown with all of its own fields unset. */
function bodyToJson(message: Message, route: Route, codec: JsonCodec): JsonValue {
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
