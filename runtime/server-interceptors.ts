import { randomUUID } from "node:crypto";
import type { DescMethod, Message } from "@bufbuild/protobuf";
import { Code, type ConnectError, createContextKey, type Interceptor } from "@connectrpc/connect";
import { auditInterceptor } from "./audit.js";
import {
  type CallContext,
  currentCall,
  type Identity,
  iterateInCall,
  LOCAL_IDENTITY,
  REQUEST_ID_HEADER,
  runInCall,
} from "./call-context.js";
import type { Clock } from "./clock.js";
import { requireAccess } from "./identity/access.js";
import { IDENTITY_HEADER } from "./identity/identity-token.js";
import { reasonOf, toMeshError } from "./errors.js";
import type { Logger } from "./logger.js";
import type { MeshSecurity } from "./mesh-security.js";
import { type Metrics, rpcLabels } from "./metrics.js";
import { tenantCallsInterceptor } from "./tenant-calls.js";
import { beginsTrace } from "./tracing/begins-trace.js";
import { parseTraceHeader, TRACE_HEADER } from "./tracing/trace-header.js";
import type { OpenSpan, Tracer } from "./tracing/tracer.js";
import { parseTraceParent, TRACE_PARENT_HEADER } from "./tracing/trace-parent.js";
import { validationInterceptor } from "./validation.js";

export interface ServerInterceptorOptions {
  logger: Logger;
  metrics: Metrics;
  clock: Clock;
  /** Tells who calls. Default: everyone is the local tenant. */
  security?: (Pick<MeshSecurity, "identify"> & Partial<Pick<MeshSecurity, "vouches">>) | undefined;
  /** Calls that a tenant may have under way; 0, the default, for no limit. */
  tenantCalls?: number;
  /** Traces the calls that come with a trace, and those of RPCs that begin one. Default: none. */
  tracer?: Tracer | undefined;
}

/** When the call must be answered, in milliseconds since the epoch; set by the server that received it. */
export const deadlineKey = createContextKey<number>(Number.POSITIVE_INFINITY, { description: "deadline" });

/** Why the caller could not be identified: refused inside of the context, where it is observed like every other failure. */
const refusalKey = createContextKey<unknown>(undefined, { description: "refusal" });

/**
 * Who calls by one of Envoy's own protocols, such as its rate limit service. They carry no identity: whoever reaches the
 * server, past network policies and mutual TLS, is part of the mesh. The edge routes none of them.
 */
export const ENVOY_IDENTITY: Identity = { tenant: "envoy", service: "envoy" };

function speaksEnvoy({ parent }: DescMethod): boolean {
  return parent.typeName.startsWith("envoy.");
}

/** The identity of calls that are about to be refused. */
const NOBODY: Identity = { tenant: "" };

/**
 * What every server does around a handler, from the outside in: context, observation and error boundary, audit log,
 * the caller's access, the tenant's calls at once, validation.
 */
export function serverInterceptors(options: ServerInterceptorOptions): Interceptor[] {
  return [
    callContextInterceptor(options),
    observeInterceptor(options),
    auditInterceptor(options.logger),
    accessInterceptor(),
    ...(options.tenantCalls ? [tenantCallsInterceptor(options.tenantCalls)] : []),
    validationInterceptor(),
  ];
}

function callContextInterceptor(options: ServerInterceptorOptions): Interceptor {
  const identified = options.security?.identify ?? (() => LOCAL_IDENTITY);
  const spans = callSpans(options);
  const identify = (header: Headers, method: DescMethod) => (speaksEnvoy(method) ? ENVOY_IDENTITY : identified(header, method));
  return (next) => async (request) => {
    let identity = NOBODY;
    try {
      identity = await identify(request.header, request.method);
    } catch (error) {
      request.contextValues.set(refusalKey, error);
    }
    const requestId = requestIdOf(request.header);
    const call: CallContext = {
      identity,
      requestId,
      traceParent: parseTraceParent(request.header.get(TRACE_PARENT_HEADER)),
      span: spans.ofCall(request, identity, requestId),
      ...(request.stream && { messageSpan: spans.ofMessages(request.header, identity) }),
      deadline: request.contextValues.get(deadlineKey),
      get signal() {
        return request.signal;
      },
    };
    const response = await runInCall(call, () => next(request));
    return response.stream ? { ...response, message: iterateInCall(call, response.message) } : response;
  };
}

/** Begins the spans of calls, and of the messages of streams: below the caller's, or the first one of a trace. */
function callSpans({ tracer, security }: ServerInterceptorOptions) {
  // Where services show who they are, nobody else's word is taken for where a span belongs.
  const isTrusted = (header: Headers) => security?.vouches !== true || header.has(IDENTITY_HEADER);
  return {
    ofCall({ header, method }: { header: Headers; method: DescMethod }, { tenant }: Identity, requestId: string): OpenSpan | undefined {
      if (tracer === undefined) return undefined;
      const parent = isTrusted(header) ? parseTraceHeader(header.get(TRACE_HEADER)) : undefined;
      const isRoot = beginsTrace(method);
      if (parent === undefined && !isRoot) return undefined;
      return tracer.start(method.name, { tenant, requestId }, { ...(parent !== undefined && { parent }), isTrace: isRoot });
    },
    ofMessages(header: Headers, { tenant }: Identity): CallContext["messageSpan"] {
      if (tracer === undefined || !isTrusted(header)) return undefined;
      return (name, { trace, requestId }) => {
        const parent = parseTraceHeader(trace);
        return parent && tracer.start(name, { tenant, requestId }, { parent });
      };
    },
  };
}

function accessInterceptor(): Interceptor {
  return (next) => (request) => {
    const refusal = request.contextValues.get(refusalKey);
    if (refusal !== undefined) throw refusal;
    requireAccess(currentCall()!.identity, request.method);
    return next(request);
  };
}

/** The caller's request id when it is one, else a new one: it goes to logs as it is. */
function requestIdOf(header: Headers): string {
  const sent = header.get(REQUEST_ID_HEADER);
  return sent !== null && /^[\w.-]{1,64}$/.test(sent) ? sent : randomUUID();
}

function observeInterceptor({ logger, metrics, clock }: ServerInterceptorOptions): Interceptor {
  return (next) => async (request) => {
    const rpc = rpcLabels(request.method);
    const started = clock.monotonic();
    const span = currentCall()?.span;
    metrics.rpcStarted(rpc);
    const finish = (error?: ConnectError) => {
      span?.end(error);
      const seconds = (clock.monotonic() - started) / 1000;
      metrics.rpcHandled(rpc, error === undefined ? "OK" : Code[error.code], seconds);
      const fields = {
        rpc: `${rpc.grpc_service}/${rpc.grpc_method}`,
        request_id: currentCall()?.requestId,
        seconds,
      };
      if (error === undefined) return logger.debug("rpc", fields);
      const failure = { ...fields, code: Code[error.code], reason: reasonOf(error), err: error.cause };
      if (error.code === Code.Internal || error.code === Code.Unknown || error.code === Code.DataLoss) {
        logger.error("rpc_failed", failure);
      } else {
        logger.debug("rpc_refused", failure);
      }
    };
    const fail = (thrown: unknown) => {
      const error = toMeshError(thrown, request);
      finish(error);
      return error;
    };
    try {
      const response = await next(request);
      if (response.stream) return { ...response, message: observed(response.message, finish, fail) };
      finish();
      return response;
    } catch (thrown) {
      throw fail(thrown);
    }
  };
}

async function* observed<T extends Message>(
  source: AsyncIterable<T>,
  finish: () => void,
  fail: (thrown: unknown) => ConnectError,
): AsyncGenerator<T> {
  let settled = false;
  try {
    for await (const message of source) yield message;
    settled = true;
    finish();
  } catch (thrown) {
    settled = true;
    throw fail(thrown);
  } finally {
    // The consumer stopped reading: the caller went away.
    if (!settled) finish();
  }
}
