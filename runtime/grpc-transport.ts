import { setMaxListeners } from "node:events";
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextValues,
  type Interceptor,
  type StreamRequest,
  type Transport,
  type UnaryRequest,
} from "@connectrpc/connect";
import { type Channel, Client, credentials, Metadata, status as GrpcStatus, type StatusObject } from "@grpc/grpc-js";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { currentCall, REQUEST_ID_HEADER } from "./call-context.js";
import type { ChannelSecurity } from "./channel-security.js";
import { meshError } from "./errors.js";
import { headersToMetadata, metadataToHeaders, toBuffer } from "./grpc-metadata.js";
import { fromGrpcStatus } from "./grpc-status.js";
import { RenewedClient } from "./renewed-client.js";
import { TRACE_PARENT_HEADER } from "./tracing/trace-parent.js";
import { TRACE_HEADER, traceHeader } from "./tracing/trace-header.js";

export interface GrpcTransportOptions {
  /** host:port, or dns:///name:port which resolves to every replica. */
  address: string;
  /** The services that are called: their RPCs marked NO_SIDE_EFFECTS or IDEMPOTENT are retried on UNAVAILABLE. */
  services: DescService[];
  /** Deadline of a call for which neither the caller nor the current call gives one, in milliseconds. Default 30,000. */
  defaultTimeoutMs?: number;
  /** Largest message sent or received, in bytes. Default 4 MiB. */
  maxMessageBytes?: number;
  interceptors?: Interceptor[];
  /** Default: in the clear, without saying who calls. */
  security?: ChannelSecurity;
}

/** A Connect transport over grpc-js, and its connection. */
export interface GrpcTransport extends Transport {
  close(): void;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_MESSAGE_BYTES = 4 * 1024 * 1024;
const FLOW_CONTROL_WINDOW_BYTES = 1024 * 1024;

/**
 * Opens a lazily connected transport: round robin over all addresses of the
 * name, retries within a budget, and what belongs to the current call (deadline,
 * cancellation, request id, identity) goes along. As with every Connect client, a stream
 * is given up by its signal, not by leaving the loop.
 */
export function createGrpcTransport(options: GrpcTransportOptions): GrpcTransport {
  const maxBytes = options.maxMessageBytes ?? DEFAULT_MESSAGE_BYTES;
  const channelOptions = {
    "grpc.service_config": JSON.stringify(serviceConfig(options.services)),
    "grpc.service_config_disable_resolution": 1,
    "grpc.max_receive_message_length": maxBytes,
    "grpc.max_send_message_length": maxBytes,
    "grpc.keepalive_time_ms": 30_000,
    // HTTP/2's default of 64 KiB makes a larger response wait for the receiver's word several times.
    "grpc-node.flow_control_window": FLOW_CONTROL_WINDOW_BYTES,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.dns_min_time_between_resolutions_ms": 5_000,
    // A client that is renewed needs a connection of its own.
    "grpc.use_local_subchannel_pool": 1,
  };
  const clients = new RenewedClient(() => new Client(options.address, options.security?.credentials ?? credentials.createInsecure(), channelOptions));
  const interceptors = options.interceptors ?? [];
  const request = (
    method: DescMethod,
    { header, signal }: CallScope,
    contextValues: ContextValues | undefined,
    content: { stream: false; message: Message } | { stream: true; message: AsyncIterable<Message> },
  ) => ({
    ...content,
    service: method.parent,
    method,
    requestMethod: "POST",
    url: `grpc://${options.address}/${method.parent.typeName}/${method.name}`,
    header,
    signal: signal ?? NEVER,
    contextValues: contextValues ?? createContextValues(),
  });

  return {
    close: () => clients.close(),
    unary(method, signal, timeoutMs, header, input, contextValues) {
      const scope = callScope(method, options, signal, timeoutMs, header);
      const send = (req: UnaryRequest) => callUnary(clients, req, scope.deadline);
      const message = create(method.input, input);
      return intercepted(send as AnySend, interceptors)(request(method, scope, contextValues, { stream: false, message })) as never;
    },
    stream(method, signal, timeoutMs, header, input, contextValues) {
      const scope = callScope(method, options, signal, timeoutMs, header);
      const send = async (req: StreamRequest) => callStream(clients.current, req, scope.deadline);
      const message = messages(method.input, input);
      return intercepted(send as AnySend, interceptors)(request(method, scope, contextValues, { stream: true, message })) as never;
    },
  };
}

type AnySend = (request: object) => Promise<object>;

/** The first interceptor is the outermost. */
function intercepted(send: AnySend, interceptors: Interceptor[]): AnySend {
  return interceptors.reduceRight<AnySend>((next, interceptor) => interceptor(next as never) as unknown as AnySend, send);
}

async function* messages(schema: DescMessage, input: AsyncIterable<MessageInitShape<DescMessage>>): AsyncGenerator<Message> {
  for await (const message of input) yield create(schema, message);
}

/** For calls that nobody can give up before their deadline. */
const NEVER = new AbortController().signal;
// Node warns of a leak at eleven listeners; here every call under way is one.
setMaxListeners(0, NEVER);

function isRepeatable({ idempotency }: DescMethod): boolean {
  return idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN;
}

/** Retries UNAVAILABLE where a repetition is harmless, and stops when retries are what breaks the server. */
function serviceConfig(services: DescService[]) {
  const repeatable = services.flatMap((service) =>
    service.methods
      .filter(isRepeatable)
      .map((method) => ({ service: service.typeName, method: method.name })),
  );
  const retryPolicy = {
    maxAttempts: 4,
    initialBackoff: "0.05s",
    maxBackoff: "1s",
    backoffMultiplier: 2,
    retryableStatusCodes: ["UNAVAILABLE"],
  };
  return {
    loadBalancingConfig: [{ round_robin: {} }],
    methodConfig: repeatable.length === 0 ? [] : [{ name: repeatable, retryPolicy }],
    // Measured: 200 failing calls made 1,000 attempts without a budget, 204 with this one.
    retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
  };
}

/** What the caller asks for, joined with what the current call allows. */
interface CallScope {
  /** In milliseconds since the epoch. */
  deadline: number;
  header: Headers;
  signal: AbortSignal | undefined;
}

function callScope(
  method: DescMethod,
  { defaultTimeoutMs = DEFAULT_TIMEOUT_MS, security }: GrpcTransportOptions,
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
  headers: ConstructorParameters<typeof Headers>[0],
): CallScope {
  const call = currentCall();
  const now = Date.now();
  const inherited = call === undefined ? Number.POSITIVE_INFINITY : call.deadline;
  // A timeout of 0 or below means none in Connect; a call here always has a deadline.
  const own = timeoutMs !== undefined && timeoutMs > 0 ? now + timeoutMs : undefined;
  const deadline = Math.min(own ?? (Number.isFinite(inherited) ? inherited : now + defaultTimeoutMs), inherited);
  const header = new Headers(headers);
  if (call !== undefined && !header.has(REQUEST_ID_HEADER)) header.set(REQUEST_ID_HEADER, call.requestId);
  if (call?.traceParent !== undefined && !header.has(TRACE_PARENT_HEADER)) header.set(TRACE_PARENT_HEADER, call.traceParent);
  if (call?.span !== undefined) header.set(TRACE_HEADER, traceHeader(call.span));
  for (const [name, value] of security?.callHeaders?.(method) ?? []) if (!header.has(name)) header.set(name, value);
  const signals = [signal, call?.signal].filter((one) => one !== undefined);
  return {
    deadline,
    header,
    signal: signals.length > 1 ? AbortSignal.any(signals) : signals[0],
  };
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function codec(method: DescMethod) {
  return {
    path: pathOf(method),
    serialize: (message: Message) => toBuffer(toBinary(method.input, message)),
    deserialize: (bytes: Buffer): Message => fromBinary(method.output as DescMessage, bytes),
  };
}

/**
 * How often a call is made again whose server went away between the first bytes of its answer and the last. Neither Envoy nor
 * grpc-js repeats those, for they hand on what they have; here nothing has reached the caller.
 */
const CUT_ANSWER_REPEATS = 2;

/** Whether the connection broke, or whoever stands between reset the call's stream: the server itself did not end the call. */
function wasCut({ code, details }: StatusObject): boolean {
  return code === GrpcStatus.UNAVAILABLE || details.startsWith("Received RST_STREAM");
}

/** What grpc-js' client would do around the channel's call, a fifth of the gateway's time for a request, is not needed here. */
function callUnary(clients: RenewedClient, request: UnaryRequest, deadline: number, repeats = CUT_ANSWER_REPEATS): Promise<object> {
  const { method, message, header, signal } = request;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(ConnectError.from(signal.reason, Code.Canceled));
    const call = (clients.current.getChannel() as Channel).createCall(pathOf(method), deadline, null, null, null);
    const cancel = () => call.cancelWithStatus(GrpcStatus.CANCELLED, "Cancelled on client");
    signal.addEventListener("abort", cancel, { once: true });
    let responseHeader: Metadata | undefined;
    let answer: Message | undefined;
    let unreadable: unknown;
    call.start(headersToMetadata(header), {
      onReceiveMetadata: (metadata) => void (responseHeader = metadata),
      onReceiveMessage(bytes: Buffer) {
        try {
          answer = fromBinary(method.output, bytes);
        } catch (cause) {
          unreadable = cause;
        }
      },
      onReceiveStatus(status: StatusObject) {
        signal.removeEventListener("abort", cancel);
        if (status.code !== GrpcStatus.OK) {
          const again = responseHeader !== undefined && repeats > 0 && isRepeatable(method) && wasCut(status) && !signal.aborted;
          return again ? resolve(callUnary(clients, request, deadline, repeats - 1)) : reject(fromGrpcStatus(status, method.parent.typeName));
        }
        if (answer === undefined) return reject(noAnswer(method, unreadable));
        resolve(unaryAnswer(method, answer, responseHeader ?? new Metadata(), status.metadata));
      },
    });
    call.startRead();
    call.sendMessageWithContext({}, toBuffer(toBinary(method.input, message)));
    call.halfClose();
  });
}

/** A call's answer, in Connect's shape; its metadata is read only when somebody asks. */
function unaryAnswer(method: DescMethod, message: Message, header: Metadata, trailer: Metadata) {
  return {
    stream: false,
    service: method.parent,
    method,
    message,
    get header() {
      return metadataToHeaders(header);
    },
    get trailer() {
      return metadataToHeaders(trailer);
    },
  };
}

function noAnswer({ parent, name }: DescMethod, cause: unknown): ConnectError {
  return meshError(Code.Internal, ErrorReason.INTERNAL, `${parent.name} answered ${name} with nothing that can be read.`, { cause });
}

function callStream(client: Client, { method, message: input, header, signal }: StreamRequest, deadline: number): object {
  const { path, serialize, deserialize } = codec(method);
  const call = client.makeBidiStreamRequest(path, serialize, deserialize, headersToMetadata(header), { deadline });
  const cancel = () => call.cancel();
  if (signal.aborted) cancel();
  else signal.addEventListener("abort", cancel, { once: true });
  const responseHeader = new Headers();
  const trailer = new Headers();
  call.on("metadata", (metadata: Metadata) => {
    metadataToHeaders(metadata).forEach((value, key) => responseHeader.set(key, value));
  });
  call.on("status", (status: StatusObject) => {
    signal.removeEventListener("abort", cancel);
    metadataToHeaders(status.metadata).forEach((value, key) => trailer.set(key, value));
  });
  // Errors reach the reader of the responses; without a listener they would end the process.
  call.on("error", () => {});
  let inputFailure: unknown;
  void (async () => {
    for await (const message of input) {
      if (call.destroyed || call.writableEnded) return;
      if (!call.write(message)) await untilWritable(call);
    }
    call.end();
  })().catch((error: unknown) => {
    inputFailure = error;
    call.cancel();
  });

  async function* responses(): AsyncGenerator<Message> {
    try {
      for await (const message of call as AsyncIterable<Message>) yield message;
    } catch (error) {
      throw inputFailure ?? fromGrpcStatus(error as StatusObject, method.parent.typeName);
    } finally {
      // A reader that stops early must not leave the server talking.
      call.cancel();
    }
  }
  return { stream: true, service: method.parent, method, header: responseHeader, trailer, message: responses() };
}

function untilWritable(call: NodeJS.EventEmitter): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const event of ["drain", "close", "error", "status"]) call.removeListener(event, done);
      resolve();
    };
    for (const event of ["drain", "close", "error", "status"]) call.once(event, done);
  });
}
