import { describe, expect, test } from "vitest";
import { ruleOf } from "./rules.js";
import { parseRules } from "./rules-file.js";

/** The example of the reference service's documentation, and what it adds to. */
const EXAMPLE = `
domain: mongo_cps
descriptors:
  - key: database
    value: users
    rate_limit:
      unit: second
      requests_per_unit: 500
  - key: database
    value: default
    rate_limit:
      unit: second
      requests_per_unit: 500
---
domain: messaging
descriptors:
  # Only allow 5 marketing messages a day
  - key: message_type
    value: marketing
    descriptors:
      - key: to_number
        rate_limit:
          unit: DAY
          requests_per_unit: 5
  # Only allow 100 messages a day to any unique phone number
  - key: to_number
    rate_limit:
      unit: day
      requests_per_unit: 100
    descriptors:
      - key: prefix
        value: +49*
        rate_limit: { unit: hour, requests_per_unit: 7, name: germany, replaces: [{ name: other }] }
      - key: prefix
        shadow_mode: true
        rate_limit: { unlimited: true }
`;

const domains = parseRules([EXAMPLE]);
const rule = (domain: string, ...entries: [string, string][]) =>
  ruleOf(domains.get(domain)!, { entries: entries.map(([key, value]) => ({ key, value })) as never });

describe("rules for Envoy", () => {
  test.each([
    { entries: [["message_type", "marketing"], ["to_number", "1"]], limit: "5/day" },
    { entries: [["message_type", "marketing"]], limit: undefined },
    { entries: [["message_type", "other"], ["to_number", "1"]], limit: undefined },
    { entries: [["to_number", "1"]], limit: "100/day" },
    { entries: [["to_number", "1"], ["prefix", "+4912"]], limit: "7/hour" },
    { entries: [["to_number", "1"], ["prefix", "+33"]], limit: "unlimited" },
    { entries: [["to_number", "1"], ["prefix", "+33"], ["more", "x"]], limit: undefined },
    { entries: [["unheard", "of"]], limit: undefined },
  ])("limit $entries to $limit", ({ entries, limit }) => {
    const found = rule("messaging", ...(entries as [string, string][]))?.limit;
    expect(typeof found === "object" ? `${found.requests}/${found.unit}` : found).toBe(limit);
  });

  test("are of one domain each, and carry a name", () => {
    expect(rule("mongo_cps", ["database", "users"])).toMatchObject({ name: "mongo_cps.database_users", shadow: false, replaces: [] });
    expect(rule("mongo_cps", ["to_number", "1"])).toBeUndefined();
    expect(rule("messaging", ["to_number", "1"], ["prefix", "+49"])).toMatchObject({ name: "germany", replaces: ["other"] });
    expect(rule("messaging", ["to_number", "1"], ["prefix", "+1"])).toMatchObject({ shadow: true });
  });

  test("may be none", () => {
    expect(parseRules([]).size).toBe(0);
    expect(parseRules([""]).size).toBe(0);
  });

  test.each([
    { text: "domain: [", says: /not YAML/ },
    { text: "descriptors: []", says: /domain: give the domain|domain/ },
    { text: "domain: a\ndescriptors: [{ value: x }]", says: /\(domain a\).*descriptors\.0\.key/s },
    { text: "domain: a\ndescriptors: [{ key: k, rate_limit: { unit: fortnight, requests_per_unit: 1 } }]", says: /descriptors\.0\.rate_limit\.unit: give one of second, minute/ },
    { text: "domain: a\ndescriptors: [{ key: k, rate_limit: { unit: second } }]", says: /descriptors\.0\.rate_limit: give unit and requests_per_unit/ },
    { text: "domain: a\ndescriptors: [{ key: k, rate_limit: { unit: second, requests_per_unit: -1 } }]", says: /requests_per_unit/ },
    { text: "domain: a\ndescriptors: [{ key: k, ratelimit: {} }]", says: /ratelimit/ },
    { text: "domain: a\ndescriptors: [{ key: k }, { key: k }]", says: /descriptor a\.k twice/ },
    { text: "domain: a\ndescriptors: [{ key: k, value: x* }, { key: k, value: x* }]", says: /descriptor a\.k_x\* twice/ },
    { text: "domain: a\n---\ndomain: a", says: /domain a twice/ },
  ])("that are wrong are refused, naming the place: $text", ({ text, says }) => {
    expect(() => parseRules([text])).toThrow(says);
  });
});
