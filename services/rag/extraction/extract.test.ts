import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { extract, MAX_DOCUMENT_BYTES } from "./extract.js";

const utf8 = (text: string) => Buffer.from(text);

describe("how a document is read", () => {
  test.each([
    { name: "by its type", document: { content: "# A", mimeType: "text/markdown" }, mimeType: "text/markdown" },
    { name: "by its type with parameters", document: { content: "<p>A", mimeType: "Text/HTML; charset=utf-8" }, mimeType: "text/html" },
    { name: "by its type before its extension", document: { content: "A", mimeType: "text/plain", name: "a.md" }, mimeType: "text/plain" },
    { name: "by its extension", document: { content: "A", name: "docs/Guide.v2.MD" }, mimeType: "text/markdown" },
    { name: "by its extension when the type says nothing", document: { content: "A", name: "a.htm", mimeType: "application/octet-stream" }, mimeType: "text/html" },
    { name: "as text when the type is some text", document: { content: "a: 1", mimeType: "text/yaml" }, mimeType: "text/plain" },
    { name: "by its beginning as HTML", document: { content: utf8("\ufeff <!-- x --><!DOCTYPE html><p>A") }, mimeType: "text/html" },
    { name: "by its beginning as text", document: { content: utf8("A <html>") }, mimeType: "text/plain" },
    { name: "as text with an unknown extension", document: { content: utf8("A"), name: "Makefile.in" }, mimeType: "text/plain" },
  ])("$name", async ({ document, mimeType }) => {
    expect((await extract(document)).mimeType).toBe(mimeType);
  });
});

describe("plain text", () => {
  test.each([
    { name: "UTF-8", content: utf8("Größe 東京 😀") },
    { name: "UTF-8 with a byte order mark", content: utf8("\ufeffGröße 東京 😀") },
    { name: "little-endian UTF-16", content: Buffer.from("\ufeffGröße 東京 😀", "utf16le") },
    { name: "big-endian UTF-16", content: Buffer.from("\ufeffGröße 東京 😀", "utf16le").swap16() },
    { name: "a string", content: "Größe 東京 😀" },
  ])("in $name is its own text", async ({ name, content }) => {
    const encoding = /UTF-16/.test(name) && { encoding: name.startsWith("little") ? "utf-16le" : "utf-16be" };
    expect(await extract({ content, name: "a.txt" })).toEqual({ text: "Größe 東京 😀", structure: "plain", mimeType: "text/plain", metadata: { ...encoding } });
  });

  const windows = Buffer.from([0x93, 0x47, 0x72, 0xf6, 0xdf, 0x65, 0x94, 0x20, 0x80, 0x35]);
  test.each([
    { name: "Latin-1", content: Buffer.from("Größe", "latin1"), text: "Größe", encoding: "windows-1252" },
    { name: "windows-1252", content: windows, text: "“Größe” €5", encoding: "windows-1252" },
    { name: "UTF-16 without a byte order mark", content: Buffer.from("Größe 5", "utf16le"), text: "Größe 5", encoding: "utf-16le" },
    { name: "big-endian UTF-16 without one", content: Buffer.from("Größe 5", "utf16le").swap16(), text: "Größe 5", encoding: "utf-16be" },
    { name: "an encoding that its type names", content: Buffer.from([0x93, 0xfa, 0x96, 0x7b]), mimeType: 'text/plain; charset="Shift_JIS"', text: "日本", encoding: "shift_jis" },
    { name: "UTF-8 that its type calls Latin-1", content: utf8("Größe"), mimeType: "text/plain; charset=iso-8859-1", text: "Größe", encoding: undefined },
    { name: "two encodings, each part in its own", content: Buffer.concat([utf8("Größe 東京\n"), windows]), text: "Größe 東京\n“Größe” €5", encoding: "utf-8, windows-1252" },
  ])("in $name is read, and the document says so", async ({ content, mimeType = "text/plain", text, encoding }) => {
    expect(await extract({ content, mimeType })).toMatchObject({ text, metadata: encoding === undefined ? {} : { encoding } });
  });

  test("has the same line ends whatever system wrote it, and no zero characters", async () => {
    expect((await extract({ content: "a\r\nb\rc\nd\0e" })).text).toBe("a\nb\nc\nde");
  });
});

describe("Markdown", () => {
  test("keeps its text and takes its title from the first heading", async () => {
    const text = "Intro\n\n# The *pump*\n\ntext";
    expect(await extract({ content: text, name: "a.md" })).toEqual({
      text,
      structure: "markdown",
      title: "The *pump*",
      mimeType: "text/markdown",
      metadata: {},
    });
  });

  test("front matter is metadata", async () => {
    const content = "---\r\ntitle: Pump guide\ntags: [oil, grease]\nrevision: 3\ndate: 2026-01-02\n---\r\n\n# Pump\n";
    expect(await extract({ content, name: "a.md" })).toMatchObject({
      text: "\n# Pump\n",
      title: "Pump guide",
      metadata: { title: "Pump guide", tags: ["oil", "grease"], revision: 3, date: "2026-01-02" },
    });
  });

  test.each([
    { name: "a rule", content: "---\n\nNot a mapping\n\n---\n\ntext" },
    { name: "broken YAML", content: "---\na: [1\n---\ntext" },
    { name: "never closed", content: "---\na: 1\ntext" },
    { name: "a bomb of aliases", content: `---\na: &a [x]\nb: [*a, *a]\n---\ntext` },
  ])("dashes that are no front matter ($name) stay text", async ({ content }) => {
    expect(await extract({ content, name: "a.md" })).toMatchObject({ text: content, metadata: {} });
  });

  test("front matter alone is an empty document", async () => {
    await expect(extract({ content: "---\na: 1\n---\n", name: "a.md" })).rejects.toMatchObject({ kind: "EMPTY" });
  });
});

describe("what is refused", () => {
  test.each([
    { name: "nothing", document: { content: "" }, kind: "EMPTY", message: /is empty/ },
    { name: "white space", document: { content: " \n\t" }, kind: "EMPTY", message: /has no text/ },
    { name: "a mark alone", document: { content: utf8("\ufeff"), name: "a.txt" }, kind: "EMPTY", message: /has no text/ },
    { name: "Shift JIS as text", document: { content: Buffer.from([0x93, 0xfa, 0x96, 0x7b, 0x83, 0x8f]), name: "a.txt" }, kind: "INVALID_ENCODING", message: /windows-1252 \(byte 5\).*charset=shift_jis.*iconv/ },
    { name: "a fault behind a true U+FFFD", document: { content: Buffer.concat([utf8("é\ufffd"), Buffer.from([0x81])]), name: "a.md" }, kind: "INVALID_ENCODING", message: /byte 5/ },
    { name: "another encoding than the declared one", document: { content: Buffer.from([0x61, 0xff]), mimeType: "text/plain; charset=euc-kr" }, kind: "INVALID_ENCODING", message: /not valid EUC-KR/ },
    { name: "bytes of a program without zeros", document: { content: Buffer.from([0x41, 0x02, 0xe9, 0x1f]), name: "a.txt" }, kind: "BINARY_CONTENT", message: /control characters/ },
    { name: "half of UTF-16", document: { content: Buffer.from([0xff, 0xfe, 0x00, 0xd8]), name: "a.txt" }, kind: "INVALID_ENCODING", message: /UTF-16LE/ },
    { name: "zero bytes as text", document: { content: Buffer.from([1, 0, 2, 0]), name: "a.txt" }, kind: "BINARY_CONTENT", message: /zero bytes/ },
    { name: "gzip as text", document: { content: gzipSync("text"), name: "a.txt" }, kind: "BINARY_CONTENT", message: /gzip.*not text\/plain/ },
    { name: "PDF as HTML", document: { content: utf8("%PDF-1.7"), mimeType: "text/html" }, kind: "BINARY_CONTENT", message: /a PDF, not text\/html/ },
    { name: "an old Word document", document: { content: Buffer.from("d0cf11e0a1b11ae1", "hex"), name: "a.doc" }, kind: "UNSUPPORTED_TYPE", message: /of the old kind, which cannot be read; convert it to one of text\/markdown/ },
    { name: "unknown binary", document: { content: Buffer.from([7, 0, 1]) }, kind: "UNSUPPORTED_TYPE", message: /unknown binary format/ },
    { name: "an unknown type", document: { content: "x", mimeType: "video/mp4" }, kind: "UNSUPPORTED_TYPE", message: /of the type video\/mp4/ },
    { name: "too many bytes", document: { content: new Uint8Array(MAX_DOCUMENT_BYTES + 1) }, kind: "TOO_LARGE", message: /limit of 67108864/ },
  ])("$name", async ({ document, kind, message }) => {
    await expect(extract(document)).rejects.toMatchObject({ kind, message: expect.stringMatching(message) });
  });
});
