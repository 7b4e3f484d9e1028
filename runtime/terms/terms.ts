/**
 * What a text is indexed and asked by: its terms. A term is a run of letters and digits in lower case; in the language
 * "english" also without accents and stopwords, and stemmed. Chinese and Japanese, written without spaces, give pairs of
 * neighbouring characters instead. The same text gives the same terms for ever: an index made with other rules has to be
 * built anew.
 */
import { stemEnglish } from "./porter2.js";
import { englishStopwords } from "./stopwords.js";

/** "none" keeps words as they are, for texts that are not English. */
export const languages = ["english", "none"] as const;
export type Language = (typeof languages)[number];

/** Longer runs are data, not words; they are cut so that an index's terms stay small, and are found by their beginning. */
export const MAX_TERM_LENGTH = 64;
/** Words whose terms are remembered, a language; about 8 MB when full. */
const MAX_CACHED_WORDS = 65_536;

const isAsciiAlphanumeric = Uint8Array.from({ length: 128 }, (_, code) => (/[0-9A-Za-z]/.test(String.fromCharCode(code)) ? 1 : 0));
const word = /[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu;
const unspacedRun = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]+|[^\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]+/gu;
const unspaced = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u;
const latinAccents = /(?<=\p{Script=Latin})\p{M}+/gu;

/** Reads terms out of texts by one language's rules. */
export class Analyzer {
  readonly language: Language;
  // The empty string stands for a word without a term.
  readonly #terms = new Map<string, string>();

  constructor(language: Language) {
    this.language = language;
  }

  /** The text's terms in the order of the text, as often as they occur. */
  terms(text: string): string[] {
    const terms: string[] = [];
    const length = text.length;
    for (let at = 0; at < length; ) {
      const start = at;
      let code = 0;
      while (at < length && (code = text.charCodeAt(at)) < 128 && isAsciiAlphanumeric[code] === 1) at++;
      if (at < length && code >= 128) {
        while (at < length && ((code = text.charCodeAt(at)) >= 128 || isAsciiAlphanumeric[code] === 1)) at++;
        this.#pushWords(text.slice(start, at), terms);
      } else if (at > start) {
        this.#push(text.slice(start, at), terms);
      } else {
        at++;
      }
    }
    return terms;
  }

  #pushWords(run: string, terms: string[]): void {
    for (const [found] of run.normalize("NFKC").matchAll(word)) {
      for (const [part] of found.matchAll(unspacedRun)) {
        if (unspaced.test(part)) pushPairs(part, terms);
        else this.#push(part, terms);
      }
    }
  }

  #push(raw: string, terms: string[]): void {
    const cut = raw.length > MAX_TERM_LENGTH ? cutAt(raw, MAX_TERM_LENGTH) : raw;
    let term = this.#terms.get(cut);
    if (term === undefined) {
      // A copy: a slice would keep the whole text that it was cut from alive as long as it is remembered.
      const copy = Buffer.from(cut, "utf16le").toString("utf16le");
      term = this.#term(copy);
      if (this.#terms.size >= MAX_CACHED_WORDS) this.#terms.clear();
      this.#terms.set(copy, term);
    }
    if (term !== "") terms.push(term);
  }

  #term(raw: string): string {
    const lower = raw.toLowerCase();
    if (this.language === "none") return lower;
    const plain = lower.normalize("NFD").replace(latinAccents, "").normalize("NFC");
    if (englishStopwords.has(plain)) return "";
    return /^[a-z]+$/.test(plain) ? stemEnglish(plain) : plain;
  }
}

function pushPairs(run: string, terms: string[]): void {
  const characters = [...run];
  if (characters.length === 1) terms.push(run);
  for (let i = 0; i + 1 < characters.length; i++) terms.push(characters[i]! + characters[i + 1]!);
}

/** The beginning of a string, at most `length` code units, never half a character. */
function cutAt(text: string, length: number): string {
  const last = text.charCodeAt(length - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? length - 1 : length);
}
