import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

/** What a span is about, in Opik's words. */
export type SpanKind = "general" | "llm" | "tool";

/** What is known of a piece of work besides its name and times. */
export interface SpanDetails {
  /** What it was given and what it made: prompts, documents, answers. Made only where it is kept, as the span ends. */
  readonly input?: () => JsonObject;
  readonly output?: () => JsonObject;
  /** Facts that hold nobody's text: counts, sizes, names of models and collections. */
  readonly metadata?: Readonly<Record<string, JsonValue>>;
  /** The language model that was called. */
  readonly model?: string;
  /** In tokens. */
  readonly usage?: { readonly inputTokens: number; readonly outputTokens: number };
  /** What the model's call cost, in US dollars. */
  readonly costUsd?: number;
  /** Time from the call to the first text of the reply, in milliseconds. */
  readonly firstTokenMs?: number;
  /** The conversation, for the span that stands for a whole request. */
  readonly threadId?: string;
}

/** A piece of work that has ended. */
export interface Span extends SpanDetails {
  readonly traceId: string;
  readonly id: string;
  /** The span that it is a part of; absent for the first one of a trace. */
  readonly parentId?: string;
  /** Whether it stands for its trace: what it was asked and what it answered are the trace's. */
  readonly isTrace: boolean;
  readonly name: string;
  readonly kind: SpanKind;
  readonly service: string;
  readonly tenant: string;
  readonly requestId: string;
  /** In milliseconds since the Unix epoch. */
  readonly start: number;
  /** In milliseconds. */
  readonly duration: number;
  /** Why it failed. */
  readonly error?: { readonly type: string; readonly message: string };
}

/** Takes spans as they end: at once, and without ever throwing. */
export interface SpanSink {
  accept(span: Span): void;
}
