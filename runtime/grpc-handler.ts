import { type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  createContextValues,
  createHandlerContext,
  createMethodImplSpec,
  type HandlerContext,
  type Interceptor,
} from "@connectrpc/connect";
import { transformInvokeImplementation } from "@connectrpc/connect/protocol";
import type {
  handleBidiStreamingCall,
  MethodDefinition,
  Server,
  ServerDuplexStream,
  ServiceDefinition,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { bufferView } from "./buffer-view.js";
import { meshError, toMeshError } from "./errors.js";
import { headersToMetadata, metadataBytes, metadataToHeaders } from "./grpc-metadata.js";
import type { GrpcServerLimits, ServiceMount } from "./grpc-server.js";
import { toGrpcStatus } from "./grpc-status.js";
import { deadlineKey } from "./server-interceptors.js";

type AnyCall = ServerDuplexStream<Message, Message>;

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
    handlers[method.localName] = grpcHandler(method, handler.bind(implementation) as never, interceptors, limits);
  }
  server.addService(definition as ServiceDefinition, handlers);
}

/** How grpc-js finds and frames a method. Every shape is served as a bidirectional stream: one adapter for all four. */
function methodDefinition(method: DescMethod): MethodDefinition<Message, Message> {
  const serialize = (schema: DescMethod["input"]) => (message: Message) => bufferView(toBinary(schema, message));
  const deserialize = (schema: DescMethod["input"]) => (bytes: Buffer) => fromBinary(schema, bytes);
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: true,
    responseStream: true,
    requestSerialize: serialize(method.input),
    requestDeserialize: deserialize(method.input),
    responseSerialize: serialize(method.output),
    responseDeserialize: deserialize(method.output),
  };
}

function grpcHandler(
  method: DescMethod,
  implementation: never,
  interceptors: Interceptor[],
  limits: GrpcServerLimits,
): handleBidiStreamingCall<Message, Message> {
  const spec = createMethodImplSpec(method, implementation);
  return (call: AnyCall) => {
    const { context, end } = openContext(method, call, limits);
    const invoke = transformInvokeImplementation(spec, context, interceptors);
    respond(call, context, invoke(requests(call, context)), limits).then(
      () => {
        call.end(headersToMetadata(context.responseTrailer));
        end();
      },
      (thrown: unknown) => {
        const error = toMeshError(thrown, context.signal);
        call.emit("error", toGrpcStatus(error));
        end(error);
      },
    );
  };
}

/** The handler's context: its signal aborts at the deadline and when the caller goes away. */
function openContext(method: DescMethod, call: AnyCall, limits: GrpcServerLimits) {
  const given = Number(call.getDeadline());
  const streams = method.methodKind !== "unary";
  const timeoutMs = Number.isFinite(given)
    ? Math.max(0, given - Date.now())
    : streams
      ? limits.streamDeadlineMs
      : limits.unaryDeadlineMs;
  const context = createHandlerContext({
    service: method.parent,
    method,
    protocolName: "grpc",
    requestMethod: "POST",
    url: `http://localhost${call.getPath()}`,
    timeoutMs,
    requestHeader: metadataToHeaders(call.metadata),
    contextValues: createContextValues().set(deadlineKey, Date.now() + timeoutMs),
  });
  call.on("cancelled", () => {
    context.abort(meshError(Code.Canceled, ErrorReason.CANCELLED, "The caller cancelled the call."));
  });
  return { context, end: (error?: ConnectError) => context.abort(error) };
}

async function* requests(call: AnyCall, context: HandlerContext): AsyncGenerator<Message> {
  try {
    // Iterating plainly would destroy the stream at its end, and with it the way back.
    for await (const message of call.iterator({ destroyOnReturn: false })) yield message as Message;
  } catch (error) {
    // A request that cannot be read: too large, or not this message.
    if (context.signal.aborted) throw context.signal.reason;
    throw error;
  }
}

/** Pumps the handler's messages to the wire, at the wire's pace, until the end or the deadline. */
async function respond(
  call: AnyCall,
  context: HandlerContext,
  responses: AsyncIterable<Message>,
  limits: GrpcServerLimits,
): Promise<void> {
  if (metadataBytes(call.metadata) > limits.maxMetadataBytes) {
    throw meshError(
      Code.ResourceExhausted,
      ErrorReason.MESSAGE_TOO_LARGE,
      `The call's metadata is larger than ${limits.maxMetadataBytes} bytes.`,
    );
  }
  const orAbort = abortable(context.signal);
  const iterator = responses[Symbol.asyncIterator]();
  let headersSent = false;
  try {
    for (;;) {
      const step = await orAbort(iterator.next());
      if (!headersSent) {
        call.sendMetadata(headersToMetadata(context.responseHeader));
        headersSent = true;
      }
      if (step.done === true) return;
      if (!call.write(step.value)) await orAbort(once(call, "drain"));
    }
  } catch (error) {
    // Not awaited: a generator that is stuck in its own await ends when that does.
    void iterator.return?.().catch(() => {});
    throw error;
  }
}

/**
 * Waits for one thing after the other, or rejects when the signal aborts, so that a handler that does not listen cannot
 * hold the call. Promise.race would leave a reaction on the abort's promise for every message of a stream's life.
 */
function abortable(signal: AbortSignal): <T>(work: Promise<T>) => Promise<T> {
  let stopWaiting: ((reason: unknown) => void) | undefined;
  const reason = () =>
    signal.reason instanceof ConnectError && signal.reason.code === Code.DeadlineExceeded
      ? meshError(Code.DeadlineExceeded, ErrorReason.DEADLINE_EXCEEDED, "The deadline passed before the work was done.")
      : signal.reason;
  signal.addEventListener("abort", () => stopWaiting?.(reason()), { once: true });
  return (work) =>
    new Promise((resolve, reject) => {
      stopWaiting = reject;
      work.then(resolve, reject);
      if (signal.aborted) reject(reason());
    });
}

function once(call: AnyCall, event: string): Promise<void> {
  return new Promise((resolve) => call.once(event, resolve));
}
