import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WordPieceTokenizer } from "./wordpiece.js";

const vocabulary = readFileSync(new URL("../../models/static-256/vocab.txt", import.meta.url), "utf8").trimEnd().split("\n");
const tokenizer = new WordPieceTokenizer(vocabulary);

const oracle = new Tokenizer(
  {
    version: "1.0",
    added_tokens: [],
    normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: null,
    decoder: null,
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocabulary.map((piece, id) => [piece, id])),
    },
  },
  {},
);
const expected = (text: string) => oracle.encode(text, { add_special_tokens: false }).ids;

describe("a BERT tokenizer", () => {
  test.each([
    { name: "plain words", text: "The bearing needs lithium grease every 900 hours." },
    { name: "upper case and punctuation", text: "HTTP/2.0 [WARN] foo_bar--baz $5+3<=4 `x` ^~|" },
    { name: "accents, composed", text: "Crème brûlée, naïve CAFÉ, Ångström" },
    { name: "accents, decomposed", text: "Cre\u0300me bru\u0302le\u0301e" },
    { name: "a mark at the start of a word", text: "\u0301abc x\u0301 \u0301" },
    { name: "ideographs", text: "東京 tower 北京大学abc漢字" },
    { name: "kana and Hangul", text: "ひらがなカタカナ 한국어 テスト" },
    { name: "control and format characters inside words", text: "a\u0001b zero\u200bwidth soft\u00adhyphen \ufeffbom \u0000x del\u007fete" },
    { name: "form feed and vertical tab", text: "a\fb a\vb" },
    { name: "Unicode white space", text: "a\u00a0b\u2003c\u3000d\u2028e\u0085f" },
    { name: "Unicode punctuation", text: "“quoted” – dash… ¿qué? «x» 、。" },
    { name: "symbols that are no punctuation", text: "5€ ±3° ™ © 2×4 ½ →" },
    { name: "emoji and other planes", text: "ok 👍🏽 done 𝒳 𐍈 x😀y" },
    { name: "capital letters with odd lower cases", text: "İstanbul ΣΊΣΥΦΟΣ ΟΔΟΣ. STRAẞE ǅ" },
    { name: "a lone surrogate", text: "a\ud800b \udfff c" },
    { name: "the replacement character", text: "a\ufffdb" },
    { name: "a word of 100 and of 101 characters", text: `${"a".repeat(100)} ${"a".repeat(101)} ${"é".repeat(100)} ${"é".repeat(101)}` },
    { name: "an unknown word beside a known one", text: "ꙮꙮ known 𒀀𒀀" },
    { name: "nothing", text: "" },
    { name: "only white space", text: " \n\t\r " },
    { name: "special tokens as text", text: "[CLS] a [SEP] [UNK] ##ing" },
  ])("tokenizes $name as the reference does", ({ text }) => {
    expect(tokenizer.encode(text)).toEqual(expected(text));
  });

  // The reference reads UTF-16 code units here and so misses the ideographs beyond the basic plane, which BERT's list has.
  const withoutFarIdeographs = (text: string) => text.replace(/[\u{20000}-\u{2fa1f}]/gu, "x");

  test("splits ideographs beyond the basic plane", () => {
    const unknown = vocabulary.indexOf("[UNK]");
    expect(tokenizer.encode("a\u{20000}\u{2a700}b")).toEqual([vocabulary.indexOf("a"), unknown, unknown, vocabulary.indexOf("b")]);
  });

  test("tokenizes any text as the reference does", () => {
    const anything = fc.string({ unit: "binary", maxLength: 60 });
    const codeUnits = fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 }).map((codes) => String.fromCharCode(...codes));
    const words = fc
      .array(fc.oneof(fc.constantFrom(...vocabulary), fc.constantFrom(" ", "\n", "-", "é", "E\u0301", "漢", "Σ", "\u200d", "\u0007", "A"), anything))
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(fc.oneof(words, anything, codeUnits), (generated) => {
        const text = withoutFarIdeographs(generated);
        expect(tokenizer.encode(text)).toEqual(expected(text));
      }),
      { numRuns: 2_000 },
    );
  });

  test("keeps its answers when more words were met than it remembers", () => {
    const small = new WordPieceTokenizer(["[UNK]", "a", "##0", ...Array.from({ length: 10 }, (_, digit) => `##${digit}`)]);
    for (let i = 0; i < 70_000; i++) small.encode(`a${i}`);
    expect(small.encode("a42 a42")).toEqual([1, 7, 5, 1, 7, 5]);
  });

  test("refuses a vocabulary without the unknown piece", () => {
    expect(() => new WordPieceTokenizer(["a", "b"])).toThrow(/\[UNK\]/);
  });
});
