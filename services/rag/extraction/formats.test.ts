import { describe, expect, test } from "vitest";
import { docxOf, pdfOf, wordParagraph, zipOf } from "./document-builders.js";
import { csvRows } from "./csv.js";
import { extract } from "./extract.js";
import { jsonLines } from "./json.js";

async function textOf(pieces: AsyncGenerator<string>): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += piece;
  return text;
}

async function* inPieces(text: string, size: number): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += size) yield text.slice(at, at + size);
}

describe("a PDF", () => {
  test("gives its text with pages, title and author, words joined that a line cut", async () => {
    const content = pdfOf([["The pump needs lu-", "brication."], [], ["Grease (lithium) does."]], { title: "Manual" });
    const extracted = await extract({ content, name: "a.pdf" });
    expect(extracted).toMatchObject({ title: "Manual", mimeType: "application/pdf", structure: "plain", metadata: { pages: 3, author: "Ada" } });
    expect(extracted.text).toBe("The pump needs lubrication.\n\nGrease (lithium) does.");
    expect(extracted.sections).toEqual([{ start: 0, path: [], page: 1 }, { start: 29, path: [], page: 3 }]);
  });

  test("is known by its first bytes", async () => {
    expect((await extract({ content: pdfOf([["text"]]), name: "without-extension" })).mimeType).toBe("application/pdf");
  });

  test.each([
    { name: "a password", content: pdfOf([["text"]], { encrypted: true }), kind: "ENCRYPTED", message: /password/ },
    { name: "only pictures", content: pdfOf([[], []]), kind: "EMPTY", message: /pictures.*ocrmypdf/ },
    { name: "half of its bytes", content: pdfOf([["text"], ["more"]]).subarray(0, 300), kind: "MALFORMED", message: /damaged or incomplete/ },
    { name: "another format's bytes", content: Buffer.from("plain text"), kind: "MALFORMED", message: /damaged/ },
  ])("with $name is refused", async ({ content, kind, message }) => {
    await expect(extract({ content, name: "a.pdf" })).rejects.toMatchObject({ kind, message: expect.stringMatching(message) });
  });
});

describe("a Word document", () => {
  test("gives headings, paragraphs and tables", async () => {
    const cell = (text: string) => `<w:tc>${wordParagraph(text)}</w:tc>`;
    const table = `<w:tbl><w:tr>${cell("Part")}${cell("Hours")}</w:tr><w:tr>${cell("Bearing")}${cell("900")}</w:tr></w:tbl>`;
    const content = docxOf(wordParagraph("Pump &amp; motor", "Heading1") + wordParagraph("It needs grease.") + table);
    const extracted = await extract({ content, name: "a.docx" });
    expect(extracted).toMatchObject({ title: "Pump & motor", structure: "markdown", mimeType: expect.stringContaining("wordprocessingml") });
    expect(extracted.text).toMatch(/^# Pump & motor\n\nIt needs grease\.\n\n/);
    expect(extracted.text).toMatch(/Bearing.*900/);
  });

  test.each([
    { name: "inflates to more than the limit", content: docxOf(wordParagraph("x".repeat(70_000_000))), kind: "TOO_LARGE" },
    { name: "hides what it inflates to", content: docxOf(wordParagraph("x".repeat(70_000_000)), 100), kind: "TOO_LARGE" },
    { name: "is cut off", content: docxOf(wordParagraph("text")).subarray(0, 500), kind: "MALFORMED" },
    { name: "is another archive", content: zipOf({ "a.txt": "text" }), kind: "UNSUPPORTED_TYPE" },
    { name: "holds no XML", content: zipOf({ "word/document.xml": "<broken" }), kind: "MALFORMED" },
    { name: "holds no text", content: docxOf(""), kind: "EMPTY" },
  ])("that $name is refused", async ({ content, kind }) => {
    await expect(extract({ content, name: "a.docx" })).rejects.toMatchObject({ kind });
  });
});

describe("CSV", () => {
  test("gives a paragraph for each row, with the names of its columns", async () => {
    const content = 'part,hours,note\r\nbearing,900,"lithium, ""white"""\r\nseal,,\n';
    const extracted = await extract({ content, name: "a.csv" });
    expect(extracted).toMatchObject({ structure: "plain", mimeType: "text/csv" });
    expect(extracted.text).toBe('part: bearing\nhours: 900\nnote: lithium, "white"\n\npart: seal\n\n');
  });

  test.each([
    { name: "semicolons", content: "a;b\n1,5;2\n", text: "a: 1,5\nb: 2\n\n" },
    { name: "tabs", content: "a\tb\n1\t2\n", text: "a: 1\nb: 2\n\n" },
    { name: "ragged rows", content: "a,b\n1\n1,2,3\n", text: "a: 1\n\na: 1\nb: 2\ncolumn 3: 3\n\n" },
    { name: "stray quotes", content: 'a,b\n5" pipe,x\n', text: 'a: 5" pipe\nb: x\n\n' },
    { name: "line breaks in fields", content: 'a,b\n"one\ntwo",x\n', text: "a: one two\nb: x\n\n" },
    { name: "a mark", content: "\ufeffa,b\n1,2\n", text: "a: 1\nb: 2\n\n" },
    { name: "one row", content: "a,b\n", text: "column 1: a\ncolumn 2: b\n\n" },
  ])("with $name is read, however it comes in", async ({ content, text }) => {
    expect((await extract({ content, name: "a.csv" })).text).toBe(text);
    for (const size of [1, 3, 100]) expect(await textOf(csvRows(inPieces(content, size)))).toBe(text);
  });

  test("with a quote that is never closed is refused", async () => {
    await expect(extract({ content: 'a,b\n"1,2\n3,4\n', name: "a.csv" })).rejects.toMatchObject({ kind: "MALFORMED", message: expect.stringContaining("never closed") });
    await expect(extract({ content: `a,b\n"${"1,2\n".repeat(500_000)}`, name: "a.csv" })).rejects.toMatchObject({ kind: "MALFORMED" });
  });

  test("that nobody reads to its end stops its source", async () => {
    let ended = false;
    async function* endless() {
      try {
        yield "a,b\n";
        for (;;) yield "1,2\n".repeat(10_000);
      } finally {
        ended = true;
      }
    }
    for await (const _ of csvRows(endless())) break;
    await expect.poll(() => ended).toBe(true);
  });
});

describe("JSON", () => {
  test("gives lines of names and values", async () => {
    const value = { title: "Pump", parts: [{ name: "bearing", hours: 900 }, { name: "seal", spare: true, note: null }], tags: ["a", "b"] };
    const extracted = await extract({ content: JSON.stringify(value), name: "a.json" });
    expect(extracted).toMatchObject({ title: "Pump", mimeType: "application/json" });
    expect(extracted.text).toBe("title: Pump\nparts:\n  name: bearing\n  hours: 900\n  name: seal\n  spare: true\ntags:\n  - a\n  - b\n\n");
  });

  test("that is long is cut into parts under the keys that lead to them", async () => {
    const entry = (n: number) => ({ id: n, text: "The pump needs grease. ".repeat(20) });
    const { text, sections } = await extract({ content: JSON.stringify({ items: [entry(0), entry(1), entry(2)], "a/b": "end" }), name: "a.json" });
    expect(sections!.map(({ path }) => path)).toEqual([["items", "0"], ["items", "1"], ["items", "2"], ["a/b"]]);
    expect(text.slice(sections![1]!.start)).toMatch(/^items:\n {2}id: 1\n/);
  });

  test("keeps every digit of a number", async () => {
    const content = '{"id":12345678901234567890,"small":0.1000000000000000055511151231257827,"s":"12345678901234567890"}';
    expect((await extract({ content, name: "a.json" })).text).toBe(
      "id: 12345678901234567890\nsmall: 0.1000000000000000055511151231257827\ns: 12345678901234567890\n\n",
    );
  });

  test.each([
    { name: "broken", content: '{"a": 1,\n"b": }', kind: "MALFORMED", message: /not valid JSON.*correct it/ },
    { name: "10,000 deep", content: "[".repeat(10_000) + "]".repeat(10_000), kind: "TOO_DEEP", message: /more than 200/ },
    { name: "without a value", content: '{"a":null,"b":[]}', kind: "EMPTY", message: /no text/ },
  ])("that is $name is refused", async ({ content, kind, message }) => {
    await expect(extract({ content, name: "a.json" })).rejects.toMatchObject({ kind, message: expect.stringMatching(message) });
  });
});

describe("JSON lines", () => {
  const content = '{"a":1}\n\n{"a":2,"b":"x"}\r\n"word"';
  const text = "a: 1\n\na: 2\nb: x\n\nword\n\n";

  test("give a paragraph for each, however they come in", async () => {
    expect(await extract({ content, name: "a.jsonl" })).toMatchObject({ text, mimeType: "application/x-ndjson" });
    for (const size of [1, 5, 100]) expect(await textOf(jsonLines(inPieces(content.replace("\r", ""), size)))).toBe(text);
  });

  test("name the line that is broken", async () => {
    await expect(extract({ content: '{"a":1}\n{"a":\n', name: "a.jsonl" })).rejects.toMatchObject({ kind: "MALFORMED", message: expect.stringContaining("Line 2") });
  });
});
