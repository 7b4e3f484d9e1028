import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadTokenizer } from "../../../runtime/embedding/tokenizer.js";
import type { WordPieceTokenizer } from "../../../runtime/embedding/wordpiece.js";
import { type Chunk, chunkText, type ChunkingOptions, MIN_CHUNK_SIZE } from "./chunker.js";
import { markdownOutline } from "./outline.js";

const sentence = (n: number) => `Sentence number ${n} tells about the bearing of the pump.`;
const sentences = (count: number) => Array.from({ length: count }, (_, n) => sentence(n)).join(" ");
const counting = (tokenizer: WordPieceTokenizer) => (text: string) => tokenizer.encode(text).length;
const texts = (chunks: readonly Chunk[]) => chunks.map(({ text }) => text);

describe("what a chunk ends at", () => {
  test("a short text is one chunk without the space around it", () => {
    expect(chunkText("\n  The pump.  \n")).toEqual([{ start: 3, end: 12, text: "The pump.", headingPath: [] }]);
  });

  test.each(["", " \n\t ", "\ufeff"])("white space alone (%j) has no chunk", (text) => {
    expect(chunkText(text)).toEqual([]);
  });

  test("a paragraph, when one ends in the second half", () => {
    const chunks = chunkText(`${sentences(12)}\n\n${sentences(12)}`, { overlap: 0 });
    expect(texts(chunks)).toEqual([sentences(12), sentences(12)]);
  });

  test("a sentence, when no paragraph does", () => {
    for (const { text } of chunkText(sentences(60))) expect(text).toMatch(/^Sentence number .*pump\.$/s);
  });

  test("a word, when no sentence does", () => {
    const words = Array.from({ length: 500 }, (_, n) => `word${n}`);
    const chunks = chunkText(words.join(" "), { overlap: 0 });
    expect(texts(chunks).join(" ").split(" ")).toEqual(words);
  });

  test("the size, when there is nothing else", () => {
    expect(chunkText("x".repeat(2_500)).map(({ start, end }) => [start, end])).toEqual([[0, 1_000], [800, 1_800], [1_600, 2_500]]);
  });

  test("a sentence of a script without spaces", () => {
    const chunks = chunkText("轴承每九百小时需要一次锂基润滑脂。".repeat(30), { size: 100, overlap: 20 });
    for (const { text } of chunks) expect(text).toMatch(/^轴承.*。$/);
  });

  test("not an abbreviation inside a sentence", () => {
    const text = `${"The pump needs a lubricant ".repeat(2)}e.g. grease. Then it runs.`;
    expect(texts(chunkText(text, { size: 72, overlap: 0 }))).toEqual([`${"The pump needs a lubricant ".repeat(2)}e.g. grease.`, "Then it runs."]);
  });
});

describe("overlap", () => {
  test("is whole sentences of the chunk before, no longer than asked for", () => {
    const chunks = chunkText(sentences(60));
    chunks.slice(1).forEach((chunk, i) => {
      const repeated = chunks[i]!.end - chunk.start;
      expect(repeated).toBeGreaterThan(100);
      expect(repeated).toBeLessThanOrEqual(200);
    });
  });

  test("is nothing across a heading", () => {
    const chunks = chunkText(`# One\n\n${sentences(12)}\n\n# Two\n\n${sentences(12)}`);
    expect(texts(chunks)).toEqual([`# One\n\n${sentences(12)}`, `# Two\n\n${sentences(12)}`]);
  });

  test("is nothing when switched off", () => {
    const chunks = chunkText(sentences(60), { overlap: 0 });
    chunks.slice(1).forEach((chunk, i) => expect(chunk.start).toBeGreaterThan(chunks[i]!.end));
  });
});

describe("headings", () => {
  const guide = `Preface.\n\n# Guide\n\n${sentences(10)}\n\n## Oil & *grease*\n\n${sentences(10)}\n\n### [Bearings](b.md) ##\n\n${sentences(10)}

Valves
======

${sentences(10)}

Setting them
------------

${sentences(10)}`;

  test("are the path of what stands under them", () => {
    expect(chunkText(guide).map(({ headingPath }) => headingPath)).toEqual([
      ["Guide"],
      ["Guide", "Oil & *grease*"],
      ["Guide", "Oil & *grease*", "Bearings"],
      ["Valves"],
      ["Valves", "Setting them"],
    ]);
  });

  test("small sections share a chunk, whose path is what they have in common", () => {
    const chunks = chunkText("# A\n\none\n\n## B\n\ntwo\n\n## C\n\nthree");
    expect(chunks.map(({ headingPath }) => headingPath)).toEqual([["A"]]);
  });

  test("are not left behind at the end of a chunk", () => {
    for (let filler = 1; filler <= 40; filler++) {
      const text = `${"word ".repeat(filler)}\n\n## Next\n\n${sentences(4)}`;
      for (const chunk of chunkText(text, { size: 120, overlap: 20 })) expect(chunk.text).not.toMatch(/\S\s*## Next$/);
    }
  });

  test("inside code, in a plain text, or without a space are none", () => {
    const comment = "```sh\n# not a heading\n```\n\n#hashtag\n\n####### seven";
    expect(chunkText(comment)[0]!.headingPath).toEqual([]);
    expect(chunkText("# A\n\ntext", { structure: "plain" })[0]!.headingPath).toEqual([]);
  });

  test("a rule under a list, a table or a longer paragraph makes no heading", () => {
    const text = "- item\n---\n\n| a |\n|---|\n\nfirst line\nsecond line\n---\n";
    expect(chunkText(text)[0]!.headingPath).toEqual([]);
  });
});

test("a text that goes on under headings of another stands under them until its own say otherwise", () => {
  const above = [{ level: 1, title: "Guide" }, { level: 2, title: "Oil" }];
  const text = `${sentences(10)}\n\n### Bearings\n\n${sentences(10)}\n\n## Grease\n\n${sentences(10)}`;
  expect(chunkText(text, { above }).map(({ headingPath }) => headingPath)).toEqual([["Guide", "Oil"], ["Guide", "Oil", "Bearings"], ["Guide", "Grease"]]);
  expect(markdownOutline(text, above).open).toEqual([{ level: 1, title: "Guide" }, { level: 2, title: "Grease" }]);
});

describe("code blocks", () => {
  const code = (lines: number, mark = "```") => `${mark}ts\n${Array.from({ length: lines }, (_, n) => `const value${n} = compute(${n});`).join("\n")}\n${mark}`;

  test.each([1, 5, 9, 10, 11, 14])("stay whole after %i sentences when they fit", (before) => {
    const chunks = chunkText(`${sentences(before)}\n\n${code(28)}\n\n${sentences(12)}`);
    expect(texts(chunks).filter((text) => text.includes(code(28)))).toHaveLength(1);
  });

  test("are cut between lines when they do not fit", () => {
    const chunks = chunkText(code(100), { overlap: 0 });
    expect(chunks.length).toBeGreaterThan(2);
    for (const { text } of chunks) expect(text).toMatch(/^(```ts|const).*(;|```)$/s);
  });

  test("hold to the end of the text when they are never closed", () => {
    expect(chunkText(`~~~\n# a\n\`\`\`\n# b`)[0]!.headingPath).toEqual([]);
  });
});

test.each([
  { options: { size: MIN_CHUNK_SIZE - 1 }, kind: "BAD_SIZE" },
  { options: { size: 99.5 }, kind: "BAD_SIZE" },
  { options: { size: NaN }, kind: "BAD_SIZE" },
  { options: { overlap: -1 }, kind: "BAD_OVERLAP" },
  { options: { overlap: 501 }, kind: "BAD_OVERLAP" },
])("refuses $options", ({ options, kind }) => {
  expect(() => chunkText("text", options)).toThrow(expect.objectContaining({ kind }));
});

test("a text of 50 MB on one line takes no longer than its length asks for", () => {
  const line = "The pump's bearing needs grease. ".repeat(1_600_000);
  const chunks = chunkText(line);
  expect(chunks.length).toBeGreaterThan(50_000);
  expect(chunks.at(-1)!.end).toBe(line.trimEnd().length);
}, 60_000);

describe("chunks of tokens", () => {
  test("end and overlap where chunks of characters do, by their tokens alone", async () => {
    const countTokens = counting(await loadTokenizer());
    const chunks = chunkText(`# One\n\n${sentences(40)}\n\n# Two\n\n${sentences(3)}`, { size: 100, overlap: 30, countTokens });
    // A sentence has 11 tokens: nine of them fit, eight below a heading, and two into what is repeated.
    expect(texts(chunks).map((text) => text.match(/Sentence/g)!.length)).toEqual([8, 9, 9, 9, 9, 6, 3]);
    for (const { text } of chunks) expect(text).toMatch(/pump\.$/);
    chunks.slice(1, -1).forEach((chunk, i) => expect(countTokens(sentences(40).slice(chunk.start - 7, chunks[i]!.end - 7))).toBeLessThanOrEqual(30));
    expect(chunks.at(-1)!.headingPath).toEqual(["Two"]);
  });

  test("hold code blocks and rows of tables together as far as they fit", async () => {
    const countTokens = counting(await loadTokenizer());
    const block = "```ts\nconst pump = open();\nclose(pump);\n```";
    const code = texts(chunkText(`${sentences(4)}\n\n${block}\n\n${sentences(4)}`, { size: 64, overlap: 0, countTokens }));
    expect(code.filter((text) => text.includes(block))).toHaveLength(1);
    const row = (n: number) => `| pump ${n} | ${n * 100} hours | lithium |`;
    const rows = Array.from({ length: 40 }, (_, n) => row(n));
    const table = texts(chunkText(rows.join("\n"), { size: 60, overlap: 0, countTokens }));
    expect(table.join("\n")).toBe(rows.join("\n"));
  });

  test.each(["가".repeat(3_000), "é".repeat(3_000), "ﷺ".repeat(3_000), "a".repeat(5_000), "0".repeat(99).concat(" ").repeat(50), "\ufeff.".repeat(2_000)])(
    "cut what has no borders (%#)",
    async (text) => {
      const countTokens = counting(await loadTokenizer());
      const chunks = chunkText(text, { size: 16, overlap: 8, countTokens });
      for (const chunk of chunks) expect(countTokens(chunk.text)).toBeLessThanOrEqual(16);
      expect(chunks.at(-1)!.end).toBe(text.trimEnd().length);
      expect(chunks.length).toBeLessThan(text.length);
    },
  );

  test("of a long text are cut in time that grows with its length", async () => {
    const countTokens = counting(await loadTokenizer());
    expect(chunkText(`${sentences(10)} `.repeat(1_500), { size: 250, overlap: 50, countTokens }).length).toBeGreaterThan(800);
  });
});

test.each([
  { name: "open brackets", unit: "# [" },
  { name: "spaces and hashes", unit: "#                 #x" },
  { name: "empty headings", unit: "#\n" },
  { name: "fences", unit: "```\n" },
  { name: "white space", unit: " \n" },
  { name: "rules", unit: "a\n\n---\n" },
])("a text of nothing but $name is cut in time that grows with its length", ({ unit }) => {
  const text = unit.repeat(300_000);
  expect(chunkText(text).at(-1)?.end ?? 0).toBe(text.trimEnd().length);
});

describe("for any text", () => {
  const piece = fc.oneof(
    fc.constantFrom("\n", "\n\n", " ", "# Head ", "\n## Sub\n\n", "\n```\n", "\n~~~\n", "---\n", "Title\n===\n", ". ", "。", "\r\n", "word ", "  indented"),
    fc.constantFrom("x".repeat(30), " ".repeat(50), "Some sentence ends. Another one begins! ", "😀".repeat(20)),
    fc.string({ unit: "binary", maxLength: 20 }),
  );
  const document = fc.array(piece, { maxLength: 60 }).map((pieces) => pieces.join(""));
  test("chunks of tokens are exact, bounded, and leave nothing out", async () => {
    const countTokens = counting(await loadTokenizer());
    fc.assert(
      fc.property(document, fc.integer({ min: MIN_CHUNK_SIZE, max: 60 }), fc.constantFrom(0, 0.2, 0.5), (text, size, part) => {
        const overlap = Math.floor(size * part);
        let covered = 0;
        for (const chunk of chunkText(text, { size, overlap, countTokens })) {
          expect(chunk.text).toBe(text.slice(chunk.start, chunk.end));
          expect(countTokens(chunk.text)).toBeLessThanOrEqual(size);
          expect(chunk.text.length).toBeLessThanOrEqual(16 * size);
          expect(chunk.end).toBeGreaterThan(covered);
          expect(text.slice(covered, chunk.start).trim()).toBe("");
          covered = chunk.end;
        }
        expect(text.slice(covered).trim()).toBe("");
      }),
      { numRuns: 500 },
    );
  });

  const options: fc.Arbitrary<Omit<ChunkingOptions, "above" | "sections">> = fc
    .record({ size: fc.integer({ min: MIN_CHUNK_SIZE, max: 200 }), part: fc.double({ min: 0, max: 0.5, noNaN: true }), structure: fc.constantFrom("markdown" as const, "plain" as const) })
    .map(({ size, part, structure }) => ({ size, overlap: Math.floor(size * part), structure }));

  test("chunks are exact, bounded, in order, and leave nothing out", () => {
    fc.assert(
      fc.property(document, options, (text, settings) => {
        const chunks = chunkText(text, settings);
        let covered = 0;
        let start = -1;
        for (const chunk of chunks) {
          expect(chunk.text).toBe(text.slice(chunk.start, chunk.end));
          expect(chunk.text.length).toBeLessThanOrEqual(settings.size);
          expect(chunk.text).toMatch(/^\S(?:.*\S)?$/su);
          expect(chunk.start).toBeGreaterThan(start);
          expect(chunk.end).toBeGreaterThan(covered);
          expect(covered - chunk.start).toBeLessThanOrEqual(settings.overlap);
          expect(text.slice(covered, chunk.start).trim()).toBe("");
          if (!/\p{Cs}/u.test(text)) expect(chunk.text).not.toMatch(/\p{Cs}/u);
          covered = chunk.end;
          start = chunk.start;
        }
        expect(text.slice(covered).trim()).toBe("");
      }),
      { numRuns: 2_000 },
    );
  });

  test("a term that is defined stands above its definition, until the next term or heading", () => {
    const text = "# Settings\n\n`port` (`integer`)\n\nThe port. Default 5432.\n\n`host`\n\nThe host.\n\nUse `this` too.\n\n# Other\n\nEnd.";
    const paths = chunkText(text, { size: 30, overlap: 0 }).map(({ text: chunk, headingPath }) => [chunk, headingPath]);
    expect(paths).toContainEqual([expect.stringContaining("Default 5432"), ["Settings", "port (integer)"]]);
    expect(paths).toContainEqual([expect.stringContaining("The host."), ["Settings", "host"]]);
    expect(paths).toContainEqual([expect.stringContaining("End."), ["Other"]]);
  });
});
