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
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
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
  return {
    close: () => clients.close(),
    unary(method, signal, timeoutMs, header, input) {
      const scope = callScope(method, options, signal, timeoutMs, header);
      return callUnary(clients, method, create(method.input, input), scope) as never;
    },
    async stream(method, signal, timeoutMs, header, input) {
      const scope = callScope(method, options, signal, timeoutMs, header);
      return callStream(clients.current, method, messages(method.input, input), scope) as never;
    },
  };
}

async function* messages(schema: DescMessage, input: AsyncIterable<MessageInitShape<DescMessage>>): AsyncGenerator<Message> {
  for await (const message of input) yield create(schema, message);
}

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
  metadata: Metadata;
  /** Any of them gives the call up. */
  signals: readonly AbortSignal[];
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
  const metadata = headers === undefined ? new Metadata() : headersToMetadata(headers instanceof Headers ? headers : new Headers(headers));
  const lacks = (name: string) => metadata.get(name).length === 0;
  if (call !== undefined && lacks(REQUEST_ID_HEADER)) metadata.set(REQUEST_ID_HEADER, call.requestId);
  if (call?.traceParent !== undefined && lacks(TRACE_PARENT_HEADER)) metadata.set(TRACE_PARENT_HEADER, call.traceParent);
  if (call?.span !== undefined) metadata.set(TRACE_HEADER, traceHeader(call.span));
  for (const [name, value] of security?.callHeaders?.(method) ?? []) if (lacks(name)) metadata.set(name, value);
  // Node warns of a leak at eleven listeners; here every call under way is one.
  if (signal !== undefined) setMaxListeners(0, signal);
  return { deadline, metadata, signals: [signal, call?.signal].filter((one) => one !== undefined) };
}

/** Calls `abort` once when a signal aborts, until the function that it returns is called. */
function listenTo(signals: readonly AbortSignal[], abort: () => void): () => void {
  for (const signal of signals) signal.addEventListener("abort", abort, { once: true });
  return () => {
    for (const signal of signals) signal.removeEventListener("abort", abort);
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
function callUnary(clients: RenewedClient, method: DescMethod, message: Message, scope: CallScope, repeats = CUT_ANSWER_REPEATS): Promise<object> {
  const { deadline, metadata, signals } = scope;
  return new Promise((resolve, reject) => {
    const aborted = signals.find((signal) => signal.aborted);
    if (aborted !== undefined) return reject(ConnectError.from(aborted.reason, Code.Canceled));
    const call = (clients.current.getChannel() as Channel).createCall(pathOf(method), deadline, null, null, null);
    const unlisten = listenTo(signals, () => call.cancelWithStatus(GrpcStatus.CANCELLED, "Cancelled on client"));
    let responseHeader: Metadata | undefined;
    let answer: Message | undefined;
    let unreadable: unknown;
    call.start(metadata, {
      onReceiveMetadata: (received) => void (responseHeader = received),
      onReceiveMessage(bytes: Buffer) {
        try {
          answer = fromBinary(method.output, bytes);
        } catch (cause) {
          unreadable = cause;
        }
      },
      onReceiveStatus(status: StatusObject) {
        unlisten();
        if (status.code !== GrpcStatus.OK) {
          const isAborted = signals.some((signal) => signal.aborted);
          const again = responseHeader !== undefined && repeats > 0 && isRepeatable(method) && wasCut(status) && !isAborted;
          return again ? resolve(callUnary(clients, method, message, scope, repeats - 1)) : reject(fromGrpcStatus(status, method.parent.typeName));
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

function callStream(client: Client, method: DescMethod, input: AsyncIterable<Message>, scope: CallScope): object {
  const { path, serialize, deserialize } = codec(method);
  const call = client.makeBidiStreamRequest(path, serialize, deserialize, scope.metadata, { deadline: scope.deadline });
  const unlisten = listenTo(scope.signals, () => call.cancel());
  if (scope.signals.some((signal) => signal.aborted)) call.cancel();
  const responseHeader = new Headers();
  const trailer = new Headers();
  call.on("metadata", (metadata: Metadata) => {
    metadataToHeaders(metadata).forEach((value, key) => responseHeader.set(key, value));
  });
  call.on("status", (status: StatusObject) => {
    unlisten();
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
