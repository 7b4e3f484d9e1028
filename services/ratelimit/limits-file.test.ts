import { describe, expect, test } from "vitest";
import { parseLimits } from "./limits-file.js";

const identity = (tenant: string, tier?: string) => ({ tenant, ...(tier !== undefined && { tier }) });

describe("limits", () => {
  test("without a file are 10 at once, 60 a minute and 1,000 an hour, and none for the local tenant", () => {
    const limits = parseLimits("");
    expect(limits.of(identity("acme"), "user")).toEqual({
      windows: [
        { periodMs: 60_000, limit: 60, capacity: 10 },
        { periodMs: 3_600_000, limit: 1_000, capacity: 1_000 },
      ],
      onFailure: "open",
    });
    expect(limits.of(identity("local"), "user")).toBe("unlimited");
  });

  test("come from the key before the tier, from an exact key before a prefix, and from one's own tenant only", () => {
    const limits = parseLimits(`
      tiers:
        default: { per_second: 1 }
        premium: { per_second: 2 }
        local: { per_second: 3 }
      keys:
        - { key: "user:*", limit: { per_second: 4 } }
        - { key: "user:1", tenant: acme, limit: { per_second: 5 } }
        - { key: "user:1", limit: { per_second: 6 } }
        - { key: "job:*", tenant: acme, limit: unlimited }
    `);
    const perSecond = (tenant: string, key: string, tier?: string) => {
      const limit = limits.of(identity(tenant, tier), key);
      return limit === "unlimited" ? limit : limit.windows[0]?.limit;
    };
    expect(perSecond("acme", "other")).toBe(1);
    expect(perSecond("acme", "other", "premium")).toBe(2);
    expect(perSecond("acme", "other", "unheard of")).toBe(1);
    expect(perSecond("local", "other")).toBe(3);
    expect(perSecond("acme", "user:2", "premium")).toBe(4);
    expect(perSecond("acme", "user:1")).toBe(5);
    expect(perSecond("other", "user:1")).toBe(6);
    expect(perSecond("acme", "job:9")).toBe("unlimited");
    expect(perSecond("other", "job:9")).toBe(1);
  });

  test("bound the shortest window by the burst", () => {
    const limits = parseLimits("tiers: { default: { burst: 5, per_second: 2, per_day: 100, on_failure: closed } }");
    expect(limits.of(identity("acme"), "k")).toEqual({
      windows: [
        { periodMs: 1_000, limit: 2, capacity: 5 },
        { periodMs: 86_400_000, limit: 100, capacity: 100 },
      ],
      onFailure: "closed",
    });
  });

  test.each([
    { text: "tiers: [", says: /not YAML.*line 1/s },
    { text: "tiers: { a: { per_minute: 1, per_minute: 2 } }", says: /not YAML/ },
    { text: "tier: {}", says: /tier/ },
    { text: "tiers: { gold: { per_minute: -1 } }", says: /tiers\.gold.*per_minute.*at least 1/ },
    { text: "tiers: { gold: { per_minute: 1.5 } }", says: /tiers\.gold.*per_minute.*whole number/ },
    { text: "tiers: { gold: { burst: 5 } }", says: /tiers\.gold.*give per_second, per_minute/ },
    { text: "tiers: { gold: { per_minute: 5, per_week: 1 } }", says: /tiers\.gold.*per_week/ },
    { text: "tiers: { gold: { per_minute: 5, on_failure: maybe } }", says: /tiers\.gold.*on_failure.*"open" or "closed"/ },
    { text: "tiers: { gold: infinite }", says: /tiers\.gold.*unlimited/ },
    { text: "keys: [{ limit: unlimited }]", says: /keys\.0\.key/ },
  ])("that are wrong are refused, naming the field: $text", ({ text, says }) => {
    expect(() => parseLimits(text)).toThrow(says);
  });
});
