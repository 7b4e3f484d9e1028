import { afterEach, beforeEach, expect, test } from "vitest";
import { loadTokenizer } from "../../../runtime/embedding/tokenizer.js";
import { docxOf, pdfOf, wordParagraph } from "../extraction/document-builders.js";
import { cutDocument, cutWindow, unpackWindow } from "./cut-document.js";
import { ThreadedCutter } from "./cutter.js";

const limits = { unit: "characters" as const, size: 1_000, overlap: 200 };
const sentence = "The bearing of the feed pump is greased every 900 hours. ";
const bytes = (text: string) => new TextEncoder().encode(text);

let cutter: ThreadedCutter;
beforeEach(() => {
  cutter = new ThreadedCutter();
});
afterEach(() => cutter.close());

test.each([
  { name: "a.md", content: () => bytes(`# Pump\n\n${sentence.repeat(2_000)}`) },
  { name: "small.txt", content: () => bytes(sentence) },
  { name: "a.html", content: () => bytes(`<title>Pump</title><h1>Pump</h1><p>${sentence.repeat(2_000)}</p>`) },
  { name: "a.pdf", content: () => new Uint8Array(pdfOf([[sentence], [], [sentence]], { title: "Manual" })) },
  { name: "a.docx", content: () => new Uint8Array(docxOf(wordParagraph("Pump", "Heading1") + wordParagraph(sentence))) },
  { name: "a.csv", content: () => bytes(`part,hours\n${"bearing,900\n".repeat(5_000)}`) },
  { name: "a.json", content: () => bytes(JSON.stringify(Array.from({ length: 2_000 }, (_, hours) => ({ part: "bearing", hours })))) },
])("$name is cut in a thread as it is here", async ({ name, content }) => {
  const document = { name, mimeType: "", limits };
  expect(await cutter.document({ ...document, content: content() })).toEqual(await cutDocument({ ...document, content: content() }));
});

test("a part of a large text is cut in a thread as it is here", async () => {
  const window = { number: 1, text: `## Grease\n\n${sentence.repeat(500)}`, start: 1_000, above: [{ level: 1, title: "Pump" }] };
  const request = { window, structure: "markdown", limits } as const;
  expect(await cutter.window(request)).toEqual(await cutWindow(request));
  const byTokens = { ...request, limits: { unit: "tokens" as const, size: 30, overlap: 0 } };
  const chunks = await cutter.window(byTokens);
  expect(chunks).toEqual(await cutWindow(byTokens));
  const tokenizer = await loadTokenizer();
  for (const { text } of chunks) expect(tokenizer.encode(text).length).toBeLessThanOrEqual(30);
});

test("a document that cannot be read is refused with its reason", async () => {
  const content = new Uint8Array(pdfOf([["text"]], { encrypted: true }));
  await expect(cutter.document({ content, name: "a.pdf", mimeType: "", limits })).rejects.toMatchObject({
    name: "ExtractionError",
    kind: "ENCRYPTED",
    message: expect.stringContaining("password"),
  });
});

test("a document that takes more memory than a thread may have is refused with the limit, and the next one is read", async () => {
  const small = new ThreadedCutter(24);
  try {
    const content = bytes(JSON.stringify(Array.from({ length: 400_000 }, (_, i) => ({ id: i, part: "bearing" }))));
    await expect(small.document({ content, name: "a.json", mimeType: "", limits })).rejects.toMatchObject({
      kind: "TOO_LARGE",
      message: expect.stringContaining("24 MB of memory"),
    });
    const next = await small.document({ content: bytes(sentence.repeat(1_000)), name: "b.txt", mimeType: "", limits });
    expect(next.chunks.length).toBeGreaterThan(50);
  } finally {
    await small.close();
  }
});

test("the event loop turns while a large document is cut", async () => {
  const content = bytes(sentence.repeat(200_000));
  let turns = 0;
  let cutting = true;
  const turn = () => {
    turns += 1;
    if (cutting) setImmediate(turn);
  };
  setImmediate(turn);
  const { chunks, windows } = await cutter.document({ content, name: "a.txt", mimeType: "", limits });
  cutting = false;
  // So many chunks come in parts, to be read one by one.
  expect(chunks).toEqual([]);
  const starts = windows.flatMap((window) => unpackWindow(window).map(({ start }) => start));
  expect(starts.length).toBeGreaterThan(10_000);
  expect(starts.every((start, i) => i === 0 || start > starts[i - 1]!)).toBe(true);
  expect(windows.length).toBe(Math.ceil(starts.length / 1_000));
  // Cut in this thread, all of the text would be one turn.
  expect(turns).toBeGreaterThan(100);
});
