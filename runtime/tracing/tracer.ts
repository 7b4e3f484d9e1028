import { Code, ConnectError } from "@connectrpc/connect";
import { type CallContext, currentCall, type MessageOrigin, runInCall, withSpan } from "../call-context.js";
import type { Clock } from "../clock.js";
import type { Span, SpanDetails, SpanKind, SpanSink } from "./span.js";
import { newSpanId, newTraceId } from "./trace-ids.js";

/** Where a span hangs: in which trace, below which span. */
export interface SpanParent {
  readonly traceId: string;
  /** Absent for the first span of a trace. */
  readonly spanId?: string;
  /** Whether a span stands for the trace already. */
  readonly claimed: boolean;
}

interface Caller {
  readonly tenant: string;
  readonly requestId: string;
}

/** Makes the spans of a service, and gives them to the sinks when they end. */
export class Tracer {
  readonly #service: string;
  readonly #clock: Clock;
  readonly #sinks: readonly SpanSink[];

  constructor(options: { service: string; clock: Clock; sinks: readonly SpanSink[] }) {
    this.#service = options.service;
    this.#clock = options.clock;
    this.#sinks = options.sinks;
  }

  /** Begins a span below `parent`, or the first one of a new trace. The first span with `isTrace` stands for the trace. */
  start(name: string, caller: Caller, options: { parent?: SpanParent; isTrace?: boolean; kind?: SpanKind } = {}): OpenSpan {
    const parent = options.parent ?? { traceId: newTraceId(caller.tenant), claimed: false };
    return new OpenSpan(this, { name, caller, parent, kind: options.kind ?? "general", isTrace: options.isTrace === true && !parent.claimed });
  }

  now(): number {
    return this.#clock.now();
  }

  monotonic(): number {
    return this.#clock.monotonic();
  }

  finish(span: Omit<Span, "service">): void {
    const ended = { ...span, service: this.#service };
    for (const sink of this.#sinks) sink.accept(ended);
  }
}

/** A piece of work under way. */
export class OpenSpan {
  readonly traceId: string;
  readonly id: string;
  readonly tracer: Tracer;
  readonly #about: { name: string; caller: Caller; kind: SpanKind; parent: SpanParent; isTrace: boolean };
  readonly #start: number;
  readonly #started: number;
  #details: SpanDetails = {};
  #ended = false;

  constructor(tracer: Tracer, about: { name: string; caller: Caller; kind: SpanKind; parent: SpanParent; isTrace: boolean }) {
    this.tracer = tracer;
    this.id = newSpanId();
    this.traceId = about.parent.traceId;
    this.#about = about;
    this.#start = tracer.now();
    this.#started = tracer.monotonic();
  }

  /** For the spans below it, here and in other services. */
  get asParent(): SpanParent {
    const { isTrace, parent } = this.#about;
    return { traceId: this.traceId, spanId: this.id, claimed: isTrace || parent.claimed };
  }

  /** Milliseconds since it began. */
  get elapsed(): number {
    return this.tracer.monotonic() - this.#started;
  }

  /** Adds to what is known of it; metadata is joined, all else replaced. */
  set(details: SpanDetails): void {
    const metadata = { ...this.#details.metadata, ...details.metadata };
    this.#details = { ...this.#details, ...details, metadata };
  }

  /** Ends it; only the first time counts. */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    const { name, caller, kind, parent, isTrace } = this.#about;
    this.tracer.finish({
      ...this.#details,
      ...(error !== undefined && { error: describe(error) }),
      ...(parent.spanId !== undefined && { parentId: parent.spanId }),
      traceId: this.traceId,
      id: this.id,
      isTrace,
      name,
      kind,
      tenant: caller.tenant,
      requestId: caller.requestId,
      start: this.#start,
      duration: this.elapsed,
    });
  }
}

/**
 * Begins a span below the one of the current call; undefined when that is not traced. Whoever begins it ends it.
 * For streams, whose work is not one function; `inSpan` suits all else.
 */
export function startSpan(name: string, kind: SpanKind = "general"): OpenSpan | undefined {
  const call = currentCall();
  return call === undefined ? undefined : childOf(call, name, kind);
}

/** Whether the current call is traced: for what is too quick to be asked twice. */
export function isTraced(): boolean {
  return currentCall()?.span !== undefined;
}

/**
 * Runs `work` as a span below the one of the current call: spans that it begins, here or in the services that it calls,
 * hang below this one. In a call that is not traced it just runs.
 */
export async function inSpan<T>(name: string, work: (span: OpenSpan | undefined) => Promise<T>, kind: SpanKind = "general"): Promise<T> {
  const call = currentCall();
  return within(call, call && childOf(call, name, kind), work);
}

/** The same for work that a message of the current call's stream asks for: the span is below the one that the message names. */
export async function inMessageSpan<T>(name: string, origin: MessageOrigin, work: () => Promise<T>): Promise<T> {
  const call = currentCall();
  return within(call, call?.messageSpan?.(name, origin), work);
}

async function within<T>(call: CallContext | undefined, span: OpenSpan | undefined, work: (span: OpenSpan | undefined) => Promise<T>): Promise<T> {
  if (call === undefined || span === undefined) return work(undefined);
  try {
    const result = await runInCall(withSpan(call, span), () => work(span));
    span.end();
    return result;
  } catch (error) {
    span.end(error);
    throw error;
  }
}

function childOf(call: CallContext, name: string, kind: SpanKind): OpenSpan | undefined {
  const { span, identity, requestId } = call;
  return span?.tracer.start(name, { tenant: identity.tenant, requestId }, { parent: span.asParent, kind });
}

function describe(error: unknown): { type: string; message: string } {
  if (error instanceof ConnectError) return { type: Code[error.code], message: error.rawMessage };
  return error instanceof Error ? { type: error.name, message: error.message } : { type: "Error", message: String(error) };
}
