import fc from "fast-check";
import { expect, test } from "vitest";
import { Analyzer, MAX_TERM_LENGTH } from "./terms.js";

const english = new Analyzer("english");
const plain = new Analyzer("none");

test.each([
  { text: "How often must the bearing be greased?", terms: ["often", "must", "bear", "greas"] },
  { text: "HTTP/2 error_code=ERR42 v1.2", terms: ["http", "2", "error", "code", "err42", "v1", "2"] },
  { text: "It's the pump's; don't", terms: ["pump"] },
  { text: "Café, cafés, CAFE\u0301", terms: ["cafe", "cafe", "cafe"] },
  { text: "東京都 tower", terms: ["東京", "京都", "tower"] },
  { text: "木 abc漢字 ひ", terms: ["木", "abc", "漢字", "ひ"] },
  { text: "ﬁle ①２", terms: ["file", "12"] },
  { text: "Привет, мир! हिन्दी", terms: ["привет", "мир", "हिन्दी"] },
  { text: "한국어 문서", terms: ["한국어", "문서"] },
  { text: "5€ 👍 — …", terms: ["5"] },
  { text: "", terms: [] },
  { text: "the of and", terms: [] },
])("English: $text", ({ text, terms }) => {
  expect(english.terms(text)).toEqual(terms);
});

test.each([
  { text: "The Bearings are greased", terms: ["the", "bearings", "are", "greased"] },
  { text: "Čeština, Größe, MÜLLER", terms: ["čeština", "größe", "müller"] },
  { text: "Cafe\u0301", terms: ["café"] },
])("no language: $text", ({ text, terms }) => {
  expect(plain.terms(text)).toEqual(terms);
});

test("cuts what is too long for a word, never inside a character", () => {
  expect(plain.terms("x".repeat(1_000))).toEqual(["x".repeat(MAX_TERM_LENGTH)]);
  const [term] = plain.terms(`x${"𐐨".repeat(100)}`);
  expect(term).toBe(`x${"𐐨".repeat(31)}`);
});

test("a text has the terms of its words, whatever stands around them", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "binary" })), (parts) => {
      expect(english.terms(parts.join(" "))).toEqual(parts.flatMap((part) => new Analyzer("english").terms(part)));
    }),
  );
});

test("terms are lower-case letters, digits and marks, and keep their number when more words were met than are remembered", () => {
  const analyzer = new Analyzer("english");
  for (let i = 0; i < 70_000; i++) expect(analyzer.terms(`Item${i}`)).toEqual([`item${i}`]);
});
