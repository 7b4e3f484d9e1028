import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AnswerEvent, Passage } from "./answerer.js";
import { CitationBinder } from "./citation-binder.js";

const passages: Passage[] = ["Valves open at 3 bar. Pumps stop at night.", "Filters are changed weekly.", "Tanks are blue."].map((text, i) => ({
  documentId: `d${i + 1}`,
  chunkId: `d${i + 1}#0`,
  source: `d${i + 1}.md`,
  headings: [],
  start: 100 * i,
  text,
  score: 1,
}));

function bind(...pieces: string[]) {
  const events: AnswerEvent[] = [];
  const binder = new CitationBinder(passages, (event) => events.push(event));
  for (const piece of pieces) binder.write(piece);
  binder.end();
  const shown = events.map((event) => ("text" in event ? event.text : "")).join("");
  expect(shown).toBe(binder.text);
  return { text: binder.text, cited: binder.citations.map(({ documentId }) => documentId), invented: binder.invented, binder, events };
}

describe("numbers in a model's answer", () => {
  test.each([
    { name: "are renumbered in order of appearance", says: "Tanks are blue [3]. Filters weekly [2], blue [3].", text: "Tanks are blue [1]. Filters weekly [2], blue [1].", cited: ["d3", "d2"] },
    { name: "in one bracket become one each", says: "Both [2, 1].", text: "Both [1][2].", cited: ["d2", "d1"] },
    { name: "are dropped when no passage has them", says: "Sure [7]. Yes [1][9].", text: "Sure. Yes [1].", cited: ["d1"], invented: 2 },
    { name: "keep the known one of several", says: "Sure [1, 8].", text: "Sure [1].", cited: ["d1"], invented: 1 },
    { name: "zero is no passage", says: "Sure [0]", text: "Sure", cited: [], invented: 1 },
    { name: "in other brackets are understood", says: "Weekly【2†source】 and [^3].", text: "Weekly[1] and [2].", cited: ["d2", "d3"] },
    { name: "in code are code", says: "Use `list[2]` and\n```\na[1] = 3\n```\nso [1].", text: "Use `list[2]` and\n```\na[1] = 3\n```\nso [1].", cited: ["d1"] },
    { name: "of links are links", says: "See [1](http://x) [2].", text: "See [1](http://x) [1].", cited: ["d2"] },
    { name: "may end the answer", says: "Weekly [2]", text: "Weekly [1]", cited: ["d2"] },
    { name: "are not other brackets", says: "An [example] of [a1] and [", text: "An [example] of [a1] and [", cited: [] },
  ])("$name", ({ says, text, cited, invented = 0 }) => {
    expect(bind(says)).toMatchObject({ text, cited, invented });
  });

  test("are bound alike however the stream is cut", () => {
    const part = fc.constantFrom("Word", " ", "[1]", "[2, 3]", " [9]", "`a[1]`", "[x]", "```\n[1]\n```", "\n", ".", "【3】", "[", "[1", "]", "(y)");
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), fc.array(fc.nat(60), { maxLength: 6 }), (parts, cuts) => {
        const whole = parts.join("");
        const points = [0, ...cuts.filter((cut) => cut < whole.length).sort((a, b) => a - b), whole.length];
        const cut = bind(...points.slice(1).map((end, i) => whole.slice(points[i], end)));
        const once = bind(whole);
        expect([cut.text, cut.cited, cut.invented]).toEqual([once.text, once.cited, once.invented]);
      }),
      { numRuns: 500 },
    );
  });

  test("come with the citation after the text that shows them, before the answer's end", () => {
    const events: AnswerEvent[] = [];
    new CitationBinder(passages, (event) => events.push(event)).write("Weekly [2]. And");
    expect(events.at(-1)).toEqual({ text: ". And" });
    expect(events.filter((event) => "citation" in event)).toHaveLength(1);
  });
});

describe("a citation's quote", () => {
  test("is the sentence that the claim relies on, at its place in the document", () => {
    const [citation] = bind("The pumps are stopped at night [1].").binder.citations;
    expect(citation).toMatchObject({ index: 1, quote: "Pumps stop at night.", start: 22, end: 42, source: "d1.md" });
  });

  test("is the whole passage when no sentence of it stands out", () => {
    const [citation] = bind("Something else entirely [1].").binder.citations;
    expect(citation).toMatchObject({ quote: passages[0]?.text, start: 0, end: 42 });
  });
});
