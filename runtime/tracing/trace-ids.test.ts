import { describe, expect, test } from "vitest";
import { isTraceOf, newSpanId, newTraceId } from "./trace-ids.js";

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe("the ids of traces and spans", () => {
  test("are version 7 UUIDs of this moment, each its own", () => {
    const before = Date.now();
    const ids = Array.from({ length: 1_000 }, (_, i) => (i % 2 === 0 ? newSpanId() : newTraceId("acme")));
    const after = Date.now();
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) {
      expect(id).toMatch(UUID_V7);
      const made = Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16);
      expect(made).toBeGreaterThanOrEqual(before);
      expect(made).toBeLessThanOrEqual(after);
    }
  });

  test("a trace is its tenant's only", () => {
    const id = newTraceId("acme");
    expect(isTraceOf(id, "acme")).toBe(true);
    for (const tenant of ["acm", "acme2", "", "local"]) expect(isTraceOf(id, tenant)).toBe(false);
    for (const other of ["", "x", id.slice(1), `${id.slice(0, -1)}${id.endsWith("0") ? "1" : "0"}`]) expect(isTraceOf(other, "acme")).toBe(false);
  });
});
