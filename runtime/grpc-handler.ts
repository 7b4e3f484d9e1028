import { setMaxListeners } from "node:events";
import { setImmediate } from "node:timers/promises";
import { create, type DescMethod, type DescMethodUnary, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  createContextKey,
  createContextValues,
  createMethodImplSpec,
  type HandlerContext,
  type Interceptor,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import { transformInvokeImplementation } from "@connectrpc/connect/protocol";
import type {
  handleBidiStreamingCall,
  handleUnaryCall,
  Metadata,
  MethodDefinition,
  Server,
  ServerDuplexStream,
  ServerUnaryCall,
  ServiceDefinition,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { meshError, toMeshError } from "./errors.js";
import { headersToMetadata, metadataBytes, metadataToHeaders, toBuffer } from "./grpc-metadata.js";
import type { GrpcServerLimits, ServiceMount } from "./grpc-server.js";
import { toGrpcStatus } from "./grpc-status.js";
import { deadlineKey } from "./server-interceptors.js";
import { unlessAborted } from "./unless-aborted.js";

type StreamCall = ServerDuplexStream<Message, Message>;
type UnaryCall = ServerUnaryCall<Message, Message>;
type UnaryImplementation = (request: Message, context: HandlerContext) => Message | Promise<Message>;

/** Mounts a Connect service implementation on a grpc-js server: the same handlers that tests mount on a router transport. */
export function mountService(
  server: Server,
  { service, implementation }: ServiceMount,
  interceptors: Interceptor[],
  limits: GrpcServerLimits,
): void {
  const definition: Record<string, MethodDefinition<Message, Message>> = {};
  const handlers: UntypedServiceImplementation = {};
  for (const method of service.methods) {
    const handler = implementation[method.localName] as ((...args: never[]) => unknown) | undefined;
    if (handler === undefined) throw new Error(`${service.typeName}/${method.name} has no handler`);
    definition[method.localName] = methodDefinition(method);
    const bound = handler.bind(implementation) as never;
    handlers[method.localName] =
      method.methodKind === "unary"
        ? unaryHandler(method as DescMethodUnary, bound, interceptors, limits)
        : streamHandler(method, bound, interceptors, limits);
  }
  server.addService(definition as ServiceDefinition, handlers);
}

/** How grpc-js finds and frames a method. All that stream are served as bidirectional streams: one adapter for the three. */
function methodDefinition(method: DescMethod): MethodDefinition<Message, Message> {
  const serialize = (schema: DescMethod["input"]) => (message: Message) => toBuffer(toBinary(schema, message));
  const deserialize = (schema: DescMethod["input"]) => (bytes: Buffer) => fromBinary(schema, bytes);
  const deserializeRequest = (bytes: Buffer) => {
    try {
      return fromBinary(method.input, bytes);
    } catch (cause) {
      return new MalformedRequest(method, cause) as never;
    }
  };
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind !== "unary",
    responseStream: method.methodKind !== "unary",
    requestSerialize: serialize(method.input),
    requestDeserialize: deserializeRequest,
    responseSerialize: serialize(method.output),
    responseDeserialize: deserialize(method.output),
  };
}

/** In the place of a message whose bytes cannot be read: what grpc-js makes of a thrown error blames the server. */
class MalformedRequest {
  readonly error: ConnectError;
  constructor({ input }: DescMethod, cause: unknown) {
    const message = `The request's bytes are no ${input.typeName}.`;
    this.error = meshError(Code.InvalidArgument, ErrorReason.MALFORMED_MESSAGE, message, { cause });
  }
}

/** Without streams in between a unary call costs half. */
function unaryHandler(
  method: DescMethodUnary,
  implementation: UnaryImplementation,
  interceptors: Interceptor[],
  limits: GrpcServerLimits,
): handleUnaryCall<Message, Message> {
  const invoke = unaryPipeline(method, implementation, interceptors);
  return (call: UnaryCall, callback) => {
    let answered = false;
    const fail = (thrown: unknown) => {
      if (answered) return;
      answered = true;
      const error = toMeshError(thrown, context);
      callback(toGrpcStatus(error));
      end(error);
    };
    // A handler that does not listen to the signal cannot hold the call.
    const { context, end } = openContext(method, call, limits, fail);
    const excess = excessMetadata(call.metadata, limits);
    if (excess !== undefined) return fail(excess);
    if (call.request instanceof MalformedRequest) return fail(call.request.error);
    invoke(context, call.request).then((response) => {
      if (answered) return;
      answered = true;
      call.sendMetadata(headersToMetadata(context.responseHeader));
      callback(null, response, headersToMetadata(context.responseTrailer));
      end();
    }, fail);
  };
}

/** A unary call's context on its way through the interceptors. */
const contextKey = createContextKey<HandlerContext | undefined>(undefined, { description: "context" });

/**
 * A handler behind its interceptors, which may replace the message; all else of a request and its response they change in
 * place. Connect's own pipeline is built anew for each call, and copies the context, whose signal then has to be there.
 */
function unaryPipeline(method: DescMethodUnary, implementation: UnaryImplementation, interceptors: Interceptor[]) {
  const { parent: service } = method;
  const handle = async (request: UnaryRequest): Promise<UnaryResponse> => {
    const context = request.contextValues.get(contextKey)!;
    const { responseHeader: header, responseTrailer: trailer } = context;
    const message = create(method.output, await implementation(request.message, context));
    return { stream: false, service, method, message, header, trailer };
  };
  const next = interceptors.reduceRight((inner, interceptor) => interceptor(inner as never) as typeof handle, handle);
  return async (context: HandlerContext, message: Message): Promise<Message> => {
    const { requestMethod, url, requestHeader: header, values } = context;
    const contextValues = values.set(contextKey, context);
    return (
      await next({
        stream: false,
        service,
        method,
        requestMethod,
        url,
        header,
        message,
        contextValues,
        get signal() {
          return context.signal;
        },
      })
    ).message;
  };
}

function streamHandler(
  method: DescMethod,
  implementation: never,
  interceptors: Interceptor[],
  limits: GrpcServerLimits,
): handleBidiStreamingCall<Message, Message> {
  const spec = createMethodImplSpec(method, implementation);
  return (call: StreamCall) => {
    const { context, end } = openContext(method, call, limits);
    const invoke = transformInvokeImplementation(spec, context, interceptors);
    respond(call, context, invoke(requests(call, context)), limits).then(
      () => {
        call.end(headersToMetadata(context.responseTrailer));
        end();
      },
      (thrown: unknown) => {
        const error = toMeshError(thrown, context);
        call.emit("error", toGrpcStatus(error));
        end(error);
      },
    );
  };
}

/** The reason of a signal whose call has been answered; made once, for making an error with its stack costs. */
const ENDED = new ConnectError("The call has ended.", Code.Canceled);

/** The longest time that a timer of Node's takes, in milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The signal of a call, made when it is first asked for: making and aborting one takes longer than most of what a call needs. */
class CallSignal {
  #controller: AbortController | undefined;
  #reason: ConnectError | undefined;

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      // Every call that the handler makes listens; Node would warn of a leak at eleven.
      setMaxListeners(0, this.#controller.signal);
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  get aborted(): boolean {
    return this.#reason !== undefined;
  }

  /** Only the first reason counts. */
  abort(reason: ConnectError): void {
    if (this.aborted) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}

/**
 * The handler's context: its signal aborts at the deadline and when the caller goes away. Connect's own links two signals to a third.
 * @param onAbort called with the reason when either happens
 */
function openContext(method: DescMethod, call: StreamCall | UnaryCall, limits: GrpcServerLimits, onAbort?: (reason: ConnectError) => void) {
  const given = Number(call.getDeadline());
  const streams = method.methodKind !== "unary";
  const timeoutMs = Number.isFinite(given)
    ? Math.max(0, given - Date.now())
    : streams
      ? limits.streamDeadlineMs
      : limits.unaryDeadlineMs;
  const deadline = Date.now() + timeoutMs;
  const cancellation = new CallSignal();
  const end = (reason: ConnectError) => {
    clearTimeout(timer);
    cancellation.abort(reason);
  };
  const abort = (reason: ConnectError) => {
    end(reason);
    onAbort?.(reason);
  };
  const timer = setTimeout(() => abort(tooLate()), Math.min(timeoutMs, MAX_TIMER_MS));
  call.on("cancelled", () => {
    // Also said of every call that was answered; an error is not made for those, with its stack.
    if (!cancellation.aborted) abort(cancelledByCaller());
  });
  const context: HandlerContext = {
    service: method.parent,
    method,
    protocolName: "grpc",
    requestMethod: "POST",
    url: `http://localhost${call.getPath()}`,
    get signal() {
      return cancellation.signal;
    },
    timeoutMs: () => deadline - Date.now(),
    requestHeader: metadataToHeaders(call.metadata),
    responseHeader: new Headers(),
    responseTrailer: new Headers(),
    values: createContextValues().set(deadlineKey, deadline),
  };
  return { context, end: (error?: ConnectError) => end(error ?? ENDED) };
}

function streamsRequest({ methodKind }: DescMethod): boolean {
  return methodKind === "client_streaming" || methodKind === "bidi_streaming";
}

function cancelledByCaller(): ConnectError {
  return meshError(Code.Canceled, ErrorReason.CANCELLED, "The caller cancelled the call.");
}

function tooLate(): ConnectError {
  return meshError(Code.DeadlineExceeded, ErrorReason.DEADLINE_EXCEEDED, "The deadline passed before the work was done.");
}

async function* requests(call: StreamCall, context: HandlerContext): AsyncGenerator<Message> {
  try {
    // Iterating plainly would destroy the stream at its end, and with it the way back.
    for await (const message of call.iterator({ destroyOnReturn: false })) {
      if (message instanceof MalformedRequest) throw message.error;
      yield message as Message;
    }
    if (!streamsRequest(context.method)) return;
    // Node's HTTP/2 ends the messages of a stream that is reset as if they were complete, and mostly tells of the reset
    // in the same turn. A client may still send the two apart: where half a stream does harm, it needs a last message.
    await setImmediate();
    if (call.cancelled) throw cancelledByCaller();
  } catch (error) {
    // A request that cannot be read: too large, or not this message.
    if (context.signal.aborted) throw context.signal.reason;
    throw error;
  }
}

/** Pumps the handler's messages to the wire, at the wire's pace, until the end or the deadline. */
async function respond(
  call: StreamCall,
  context: HandlerContext,
  responses: AsyncIterable<Message>,
  limits: GrpcServerLimits,
): Promise<void> {
  const excess = excessMetadata(call.metadata, limits);
  if (excess !== undefined) throw excess;
  const { signal } = context;
  const iterator = responses[Symbol.asyncIterator]();
  let headersSent = false;
  try {
    for (;;) {
      // A handler that does not listen to the signal cannot hold the call.
      const step = await unlessAborted(iterator.next(), signal);
      if (!headersSent) {
        call.sendMetadata(headersToMetadata(context.responseHeader));
        headersSent = true;
      }
      if (step.done === true) return;
      if (!call.write(step.value)) await unlessAborted(once(call, "drain"), signal);
    }
  } catch (error) {
    // Not awaited: a generator that is stuck in its own await ends when that does.
    void iterator.return?.().catch(() => {});
    throw error;
  }
}

function excessMetadata(metadata: Metadata, { maxMetadataBytes }: GrpcServerLimits): ConnectError | undefined {
  if (metadataBytes(metadata) <= maxMetadataBytes) return undefined;
  const message = `The call's metadata is larger than ${maxMetadataBytes} bytes.`;
  return meshError(Code.ResourceExhausted, ErrorReason.MESSAGE_TOO_LARGE, message);
}

function once(call: StreamCall, event: string): Promise<void> {
  return new Promise((resolve) => call.once(event, resolve));
}
