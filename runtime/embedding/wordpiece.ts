/**
 * The tokenizer of uncased BERT models: clean, lower case, strip accents, split at white space, punctuation and CJK
 * ideographs, then the longest vocabulary pieces from the left (greedy WordPiece).
 *
 * Text is read once, character by character. Runs of ASCII, nearly all there is in English text, take a path without
 * normalisation; a run with anything else goes through the Unicode rules. The pieces of recent words are remembered.
 */
const UNKNOWN = "[UNK]";
const CONTINUATION = "##";
/** Longer words, in code points, are unknown. */
const MAX_WORD_LENGTH = 100;
/** Words remembered at once; about 10 MB when full. */
const MAX_CACHED_WORDS = 65_536;
/** Longer words are rarely met twice. */
const MAX_CACHED_WORD_LENGTH = 32;

const LOWER = 0;
const UPPER = 1;
const PUNCTUATION = 2;
const SPACE = 3;
/** Control characters: dropped, and a word goes on over them. */
const CONTROL = 4;

const asciiClass = Uint8Array.from({ length: 128 }, (_, code) => {
  if (code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d) return SPACE;
  if (code < 0x20 || code === 0x7f) return CONTROL;
  if (code >= 0x41 && code <= 0x5a) return UPPER;
  if ((code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x7a)) return LOWER;
  return PUNCTUATION;
});

const dropped = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\ufffd]/gu;
// The blocks of BERT's own list; other scripts without spaces (kana, Hangul, Thai) stay words.
const ideograph =
  /[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b820}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;
const accents = /\p{Mn}/gu;
const pieceOfRun = /[\p{P}$+<=>^`|~]|[^\s\p{P}$+<=>^`|~]+/gu;

/** Tokenizes for one vocabulary. */
export class WordPieceTokenizer {
  readonly #ids: Map<string, number>;
  readonly #unknown: number;
  /** Code points of the vocabulary's longest piece. */
  readonly #longestPiece: number;
  readonly #words = new Map<string, readonly number[]>();

  /** @param vocabulary one piece an id, in the order of the ids; "##" starts a piece that continues a word. */
  constructor(vocabulary: readonly string[]) {
    this.#ids = new Map(vocabulary.map((piece, id) => [piece, id]));
    const unknown = this.#ids.get(UNKNOWN);
    if (unknown === undefined) throw new RangeError(`The vocabulary has no ${UNKNOWN} piece; it is not a BERT vocabulary.`);
    this.#unknown = unknown;
    this.#longestPiece = vocabulary.reduce((longest, piece) => Math.max(longest, [...piece].length), 1);
  }

  /** The ids of the text's pieces, without [CLS] and [SEP], never truncated. */
  encode(text: string): number[] {
    const ids: number[] = [];
    const length = text.length;
    let at = 0;
    while (at < length) {
      const start = at;
      let upper = false;
      let kind = LOWER;
      for (; at < length; at++) {
        const code = text.charCodeAt(at);
        kind = code < 128 ? asciiClass[code]! : CONTROL;
        if (kind > UPPER) break;
        if (kind === UPPER) upper = true;
      }
      if (at < length && kind === CONTROL) {
        at = this.#encodeRun(text, start, ids);
        continue;
      }
      if (at > start) {
        const word = text.slice(start, at);
        this.#pushWord(upper ? word.toLowerCase() : word, ids);
      }
      if (at < length) {
        if (kind === PUNCTUATION) this.#pushWord(text[at]!, ids);
        at++;
      }
    }
    return ids;
  }

  /** From a word's start to the next ASCII white space by the Unicode rules; returns where it stopped. */
  #encodeRun(text: string, start: number, ids: number[]): number {
    let end = start;
    while (end < text.length && asciiClass[text.charCodeAt(end)] !== SPACE) end++;
    const run = text
      .slice(start, end)
      .replace(dropped, "")
      .replace(ideograph, " $& ")
      .toLowerCase()
      .normalize("NFD")
      .replace(accents, "");
    for (const [word] of run.matchAll(pieceOfRun)) this.#pushWord(word, ids);
    return end;
  }

  #pushWord(word: string, ids: number[]): void {
    let pieces = this.#words.get(word);
    if (pieces === undefined) {
      pieces = this.#pieces(word);
      if (word.length <= MAX_CACHED_WORD_LENGTH) {
        // Emptied whole when full: frequent words are back at once, and no order has to be kept on every hit.
        if (this.#words.size >= MAX_CACHED_WORDS) this.#words.clear();
        // A copy: a slice would keep the whole text that it was cut from alive as long as it is remembered.
        this.#words.set(Buffer.from(word, "utf16le").toString("utf16le"), pieces);
      }
    }
    for (let i = 0; i < pieces.length; i++) ids.push(pieces[i]!);
  }

  #pieces(word: string): readonly number[] {
    // A word of more code units than twice the limit needs no spreading to be known as too long.
    if (word.length > 2 * MAX_WORD_LENGTH) return [this.#unknown];
    const characters = [...word];
    if (characters.length > MAX_WORD_LENGTH) return [this.#unknown];
    // One code unit a character: the word itself can be cut.
    const isPlain = characters.length === word.length;
    const pieces: number[] = [];
    for (let start = 0; start < characters.length; ) {
      let end = Math.min(characters.length, start + this.#longestPiece);
      let id: number | undefined;
      for (; end > start; end--) {
        const piece = isPlain ? word.slice(start, end) : characters.slice(start, end).join("");
        id = this.#ids.get(start === 0 ? piece : CONTINUATION + piece);
        if (id !== undefined) break;
      }
      if (id === undefined) return [this.#unknown];
      pieces.push(id);
      start = end;
    }
    return pieces;
  }
}
