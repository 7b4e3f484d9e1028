import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { splitSentences } from "./sentences.js";

const cut = (text: string) => splitSentences(text).map(({ start, end, kind }) => `${kind}: ${text.slice(start, end)}`);

describe("a text is cut", () => {
  test.each([
    { name: "after sentences", text: "It opens. It closes! Does it?", parts: ["prose: It opens.", "prose: It closes!", "prose: Does it?"] },
    { name: "not after abbreviations and initials", text: "Use e.g. Valves by J. Smith, cf. Fig. 3 etc. and go.", parts: ["prose: Use e.g. Valves by J. Smith, cf. Fig. 3 etc. and go."] },
    { name: "not inside numbers and names", text: "Version 3.11 of node.js runs.", parts: ["prose: Version 3.11 of node.js runs."] },
    { name: "not at wrapped lines", text: "One line\ngoes on here. Next\none.", parts: ["prose: One line\ngoes on here.", "prose: Next\none."] },
    { name: "before list items, without their markers", text: "These are:\n- red, it is\n  bright\n2. green\n", parts: ["prose: These are:", "item: red, it is\n  bright", "item: green"] },
    { name: "at table rows, without their rule", text: "| a | b |\n|---|---|\n| 1 | 2 |", parts: ["row: | a | b |", "row: | 1 | 2 |"] },
    { name: "at headings of all kinds", text: "# One\nText is here.\n\nTwo\n===\nA short title\n\nMore text.", parts: ["heading: # One", "prose: Text is here.", "heading: Two", "heading: A short title", "prose: More text."] },
    { name: "around code", text: "Run:\n```sh\nls -l. Then\n```\nDone.\n\n    x = f(1);\n\n>>> print(1)", parts: ["prose: Run:", "code: ```sh\nls -l. Then\n```", "prose: Done.", "code: x = f(1);", "code: >>> print(1)"] },
    { name: "without comments", text: "<!-- YAML\nadded: v1\n-->\nText.", parts: ["prose: Text."] },
    { name: "where sentences have no spaces", text: "水は冷たい。火は熱い。", parts: ["prose: 水は冷たい。", "prose: 火は熱い。"] },
    { name: "nowhere when there is nothing", text: " \n\n", parts: [] },
  ])("$name", ({ text, parts }) => {
    expect(cut(text)).toEqual(parts);
  });

  test("into stretches in order that do not overlap, whatever it is", () => {
    const line = fc.constantFrom("# h", "a b.", "- i", "```", "| r |", "", "===", "    c(){}", "<!-- x", "-->", "A. B! c?", " ");
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        const text = lines.join("\n");
        let last = 0;
        for (const { start, end } of splitSentences(text)) {
          expect(start).toBeGreaterThanOrEqual(last);
          expect(end).toBeGreaterThan(start);
          expect(text.slice(start, end)).toBe(text.slice(start, end).trim());
          last = end;
        }
        expect(last).toBeLessThanOrEqual(text.length);
      }),
    );
  });
});
