import { randomBytes } from "node:crypto";

/** The header of W3C Trace Context: "00-TRACE-PARENT-FLAGS". It goes with every call, so that the tracers of others see one trace. */
export const TRACE_PARENT_HEADER = "traceparent";

/** Version 00, and what later ones begin with; neither id may be all zeros. */
const PATTERN = /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(?:-.*)?$/;

/** The header for what is done for a request: its caller's trace with a parent of our own, or a new trace. */
export function traceParentBelow(sent: string | null | undefined): string {
  const [, trace, , flags] = PATTERN.exec(sent ?? "") ?? [];
  return `00-${trace ?? randomBytes(16).toString("hex")}-${randomBytes(8).toString("hex")}-${flags ?? "00"}`;
}

/** The header when it is one; undefined when there is none or it is malformed. */
export function parseTraceParent(sent: string | null): string | undefined {
  return sent !== null && PATTERN.test(sent) ? sent.slice(0, 55) : undefined;
}
