import type { Span } from "./span.js";

/** A trace as Opik's client takes it. */
export type OpikTrace = ReturnType<typeof toOpikTrace>;
/** A span as Opik's client takes it. */
export type OpikSpan = ReturnType<typeof toOpikSpan>;

export interface OpikMapping {
  readonly projectName: string;
  /** Whether prompts, documents and answers go along. */
  readonly content: boolean;
}

/** The trace that a span stands for. */
export function toOpikTrace(span: Span, mapping: OpikMapping) {
  return { ...shared(span, mapping), id: span.traceId, ...(span.threadId !== undefined && { threadId: span.threadId }) };
}

export function toOpikSpan(span: Span, mapping: OpikMapping) {
  const { model, usage, costUsd } = span;
  return {
    ...shared(span, mapping),
    id: span.id,
    traceId: span.traceId,
    type: span.kind,
    ...(span.parentId !== undefined && { parentSpanId: span.parentId }),
    ...(model !== undefined && { model }),
    ...(usage !== undefined && {
      // Opik's cost tables know OpenAI's names.
      usage: {
        prompt_tokens: usage.inputTokens,
        completion_tokens: usage.outputTokens,
        total_tokens: usage.inputTokens + usage.outputTokens,
      },
    }),
    ...(costUsd !== undefined && { totalEstimatedCost: costUsd }),
  };
}

function shared(span: Span, { projectName, content }: OpikMapping) {
  const { name, start, duration, input, output, error, firstTokenMs, service, tenant, requestId } = span;
  return {
    projectName,
    name,
    startTime: new Date(start),
    endTime: new Date(start + duration),
    ...(content && input !== undefined && { input: input() }),
    ...(content && output !== undefined && { output: output() }),
    metadata: { ...span.metadata, service, tenant, request_id: requestId },
    ...(firstTokenMs !== undefined && { ttft: firstTokenMs }),
    ...(error !== undefined && {
      // An error's text may quote what it was about.
      errorInfo: { exceptionType: error.type, ...(content && { message: error.message }), traceback: "" },
    }),
  };
}
