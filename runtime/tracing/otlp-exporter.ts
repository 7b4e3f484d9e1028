import { type Attributes, type HrTime, SpanKind as OtelKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import { VERSION } from "../version.js";
import type { Span } from "./span.js";

/** The way to a collector. */
export interface OtlpExporter {
  /** Resolves to undefined when the collector has the spans, else to why it has not. */
  send(spans: readonly Span[]): Promise<Error | undefined>;
  close(): Promise<void>;
}

/** @param endpoint the collector's address; spans go to /v1/traces below it */
export function openOtlpExporter(endpoint: string, timeoutMillis: number): OtlpExporter {
  const exporter = new OTLPTraceExporter({ url: `${endpoint.replace(/\/$/, "")}/v1/traces`, timeoutMillis });
  return {
    send: (spans) =>
      new Promise((resolve) => {
        exporter.export(spans.map(toReadableSpan), ({ code, error }) => resolve(code === 0 ? undefined : (error ?? new Error("refused"))));
      }),
    close: () => exporter.shutdown(),
  };
}

/** OpenTelemetry's ids are shorter: a trace's is the whole UUID, a span's its second half, which is random. */
const traceIdOf = (id: string) => id.replaceAll("-", "");
const spanIdOf = (id: string) => id.replaceAll("-", "").slice(16);

function toReadableSpan(span: Span): ReadableSpan {
  const { name, service, start, duration, error, kind, parentId } = span;
  const context = (id: string) => ({ traceId: traceIdOf(span.traceId), spanId: spanIdOf(id), traceFlags: TraceFlags.SAMPLED });
  return {
    name,
    kind: kind === "llm" ? OtelKind.CLIENT : span.isTrace ? OtelKind.SERVER : OtelKind.INTERNAL,
    spanContext: () => context(span.id),
    ...(parentId !== undefined && { parentSpanContext: context(parentId) }),
    startTime: hrTime(start),
    endTime: hrTime(start + duration),
    duration: hrTime(duration),
    status: error === undefined ? { code: SpanStatusCode.OK } : { code: SpanStatusCode.ERROR, message: error.type },
    attributes: attributesOf(span),
    links: [],
    events: [],
    ended: true,
    resource: resourceFromAttributes({ "service.name": service, "service.namespace": "ragents", "service.version": VERSION }),
    instrumentationScope: { name: "ragents-mesh", version: VERSION },
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

function attributesOf({ requestId, tenant, metadata = {}, model, usage, costUsd, firstTokenMs }: Span): Attributes {
  const facts = Object.entries(metadata).map(([key, value]) => [`ragents.${key}`, typeof value === "object" ? JSON.stringify(value) : value]);
  return {
    ...(Object.fromEntries(facts) as Attributes),
    "ragents.request_id": requestId,
    "ragents.tenant": tenant,
    ...(model !== undefined && { "gen_ai.request.model": model }),
    ...(usage !== undefined && { "gen_ai.usage.input_tokens": usage.inputTokens, "gen_ai.usage.output_tokens": usage.outputTokens }),
    ...(costUsd !== undefined && { "ragents.cost_usd": costUsd }),
    ...(firstTokenMs !== undefined && { "ragents.first_token_ms": firstTokenMs }),
  };
}

/** Seconds and nanoseconds. */
function hrTime(milliseconds: number): HrTime {
  const seconds = Math.floor(milliseconds / 1000);
  return [seconds, Math.round((milliseconds - seconds * 1000) * 1_000_000)];
}
