import { AsyncLocalStorage } from "node:async_hooks";
import { setMaxListeners } from "node:events";
import { Role } from "../gen/ragents/auth/v1/access_pb.js";
import type { OpenSpan } from "./tracing/tracer.js";

/** Who calls. Made by the server from the call's credentials, never from a message. */
export interface Identity {
  /** Part of every key, row and query. */
  readonly tenant: string;
  /** Names the limits that hold for the caller; those of "default" when absent, or of "local" for the local tenant. */
  readonly tier?: string;
  /** Who it is inside the tenant. Absent when the credentials name nobody, and for work that no person asked for. */
  readonly user?: string;
  /** What the caller may do. None when absent. */
  readonly roles?: readonly Role[];
  /** The service that calls for this identity, e.g. "agent". Absent when the caller comes from outside of the mesh. */
  readonly service?: string;
  /** Whether the caller runs this mesh, and may make keys for every tenant. */
  readonly operator?: boolean;
}

/** What belongs to one call and follows it through every service: Go's context, for this mesh. */
export interface CallContext {
  readonly identity: Identity;
  /** Finds the call in logs and traces; the same in every service that it passes. */
  readonly requestId: string;
  /** When the answer is no longer wanted, in milliseconds since the Unix epoch. */
  readonly deadline: number;
  /** Aborts when the caller goes away, the deadline passes, or the call ends. */
  readonly signal: AbortSignal;
  /** The trace of the caller's own tracer, as W3C Trace Context; goes along with every call. */
  readonly traceParent?: string | undefined;
  /** The span that the work is a part of. Absent when the call is not traced. */
  readonly span?: OpenSpan | undefined;
  /** Of a stream whose messages belong to several requests: begins a span where a message says that it belongs, if it does. */
  readonly messageSpan?: ((name: string, origin: MessageOrigin) => OpenSpan | undefined) | undefined;
}

/** What a message of a stream says of the call that it was sent in, where the stream is shared by several. */
export interface MessageOrigin {
  /** As in the metadata of a call; empty without a trace. */
  readonly trace: string;
  /** As in the metadata of a call; empty without one. */
  readonly requestId: string;
}

/** The only tenant while no keys are configured. */
export const LOCAL_TENANT = "local";

/** Everyone, while no keys are configured: may do everything in the only tenant. */
export const LOCAL_IDENTITY: Identity = { tenant: LOCAL_TENANT, roles: [Role.ADMIN], operator: true };

/** Whom a service works for that works for all tenants: none of them. */
export const MESH_IDENTITY: Identity = { tenant: "mesh" };

/** The metadata key that carries the request's id between services. */
export const REQUEST_ID_HEADER = "x-request-id";

const storage = new AsyncLocalStorage<CallContext | undefined>();

/** The call that the current code runs for, or undefined outside of one. */
export function currentCall(): CallContext | undefined {
  return storage.getStore();
}

/** The tenant of the current call. Outside of a call there is none: that is a programming error. */
export function currentTenant(): string {
  const call = storage.getStore();
  if (call === undefined) throw new Error("no call context: background work must name its tenant");
  return call.identity.tenant;
}

/** Runs `fn` as part of `call`: client calls inside inherit its identity, request id, deadline and signal. */
export function runInCall<T>(call: CallContext, fn: () => T): T {
  return storage.run(call, fn);
}

/** The same call with a span of its own. Its signal is asked for only when somebody needs it: many are made then. */
export function withSpan(call: CallContext, span: OpenSpan): CallContext {
  const { identity, requestId, deadline, traceParent, messageSpan } = call;
  return {
    identity,
    requestId,
    deadline,
    traceParent,
    span,
    messageSpan,
    get signal() {
      return call.signal;
    },
  };
}

/** Runs `fn` outside of any call: what it starts outlives the call that started it. */
export function runDetached<T>(fn: () => T): T {
  return storage.run(undefined, fn);
}

/**
 * A context for work that no caller waits for, such as an ingestion job:
 * it has an identity, but neither deadline nor a caller that can go away.
 */
export function backgroundCall(identity: Identity, requestId: string, signal: AbortSignal, span?: OpenSpan): CallContext {
  // Every client call under way listens to it; Node would warn of a leak at eleven.
  setMaxListeners(0, signal);
  return { identity, requestId, deadline: Number.POSITIVE_INFINITY, signal, span };
}

/** Runs `fn` for the caller of the current call, but with neither its deadline nor its cancellation: for what must be done after its end. */
export function runBeyondCall<T>(fn: () => T): T {
  const call = storage.getStore();
  return call === undefined ? fn() : runInCall(backgroundCall(call.identity, call.requestId, new AbortController().signal, call.span), fn);
}

/** Resumes every step of `source` inside `call`: a generator's body otherwise runs in its consumer's context. */
export async function* iterateInCall<T>(call: CallContext, source: AsyncIterable<T>): AsyncGenerator<T> {
  const iterator = runInCall(call, () => source[Symbol.asyncIterator]());
  let ended = false;
  try {
    for (;;) {
      const step = await runInCall(call, () => iterator.next());
      if (step.done === true) {
        ended = true;
        return;
      }
      yield step.value;
    }
  } catch (error) {
    ended = true;
    throw error;
  } finally {
    if (!ended) await runInCall(call, () => iterator.return?.());
  }
}
