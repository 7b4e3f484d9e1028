import { randomUUID } from "node:crypto";

/** The header of W3C Trace Context: "00-TRACE-PARENT-FLAGS". It goes with every call, so that the tracers of others see one trace. */
export const TRACE_PARENT_HEADER = "traceparent";

/** Version 00, and what later ones begin with; neither id may be all zeros. */
const PATTERN = /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(?:-.*)?$/;

/** The header for what is done for a request: its caller's trace with a parent of our own, or a new trace. */
export function traceParentBelow(sent: string | null | undefined): string {
  const [, trace, , flags] = PATTERN.exec(sent ?? "") ?? [];
  return `00-${trace ?? randomHex()}-${randomHex().slice(16)}-${flags ?? "00"}`;
}

/** 32 digits, never all zeros in either half. Node makes UUIDs in stock: a tenth of what random bytes cost each time. */
function randomHex(): string {
  return randomUUID().replaceAll("-", "");
}

/** The header when it is one; undefined when there is none or it is malformed. */
export function parseTraceParent(sent: string | null): string | undefined {
  return sent !== null && PATTERN.test(sent) ? sent.slice(0, 55) : undefined;
}
