import type { OpenSpan, SpanParent } from "./tracer.js";

/**
 * The metadata key by which a service tells the next one of the trace: "TRACE/SPAN", and "/claimed" when a span stands
 * for the trace already. Made behind the gateway; what clients send under this name is dropped there.
 */
export const TRACE_HEADER = "x-ragents-trace";

const UUID = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
const PATTERN = new RegExp(`^(${UUID})/(${UUID})(/claimed)?$`);

export function traceHeader(span: OpenSpan): string {
  const { traceId, spanId, claimed } = span.asParent;
  return `${traceId}/${spanId}${claimed ? "/claimed" : ""}`;
}

/** What a header says; undefined when there is none or it is malformed. */
export function parseTraceHeader(value: string | null): SpanParent | undefined {
  const [, traceId, spanId, claimed] = PATTERN.exec(value ?? "") ?? [];
  return traceId === undefined || spanId === undefined ? undefined : { traceId, spanId, claimed: claimed !== undefined };
}
