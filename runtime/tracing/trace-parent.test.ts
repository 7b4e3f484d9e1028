import { expect, test } from "vitest";
import { parseTraceParent, traceParentBelow } from "./trace-parent.js";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENT = `00-${TRACE}-00f067aa0ba902b7-01`;

test("a caller's trace is gone on with, below a parent of our own", () => {
  const below = traceParentBelow(SENT);
  expect(below).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`));
  expect(below).not.toBe(SENT);
  expect(parseTraceParent(below)).toBe(below);
  expect(parseTraceParent(`cc-${TRACE}-00f067aa0ba902b7-01-more`)).toBe(`cc-${TRACE}-00f067aa0ba902b7-01`);
});

test.each([undefined, null, "", "x", `ff-${TRACE}-00f067aa0ba902b7-01`, `00-${"0".repeat(32)}-00f067aa0ba902b7-01`, `00-${TRACE}-${"0".repeat(16)}-01`, SENT.toUpperCase()])(
  "%j is no trace: a new one begins",
  (sent) => {
    expect(parseTraceParent(sent ?? null)).toBeUndefined();
    expect(traceParentBelow(sent)).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    expect(traceParentBelow(sent)).not.toContain(TRACE);
  },
);
