import { splitsCharacter } from "./borders.js";

/** Measures a text in the unit that its chunks are limited by. */
export interface Ruler {
  /** The furthest end of a stretch that begins at `start` and measures at most `amount`; always further than `start`. */
  reach(start: number, amount: number): number;
  /** The earliest start, not before `from`, of a stretch that ends at `end` and measures at most `amount`. */
  reachBack(from: number, end: number, amount: number): number;
  /** Whether a stretch measures at most `amount`. */
  fits(start: number, end: number, amount: number): boolean;
}

/** By UTF-16 code units. */
export class CharacterRuler implements Ruler {
  readonly #length: number;

  constructor(text: string) {
    this.#length = text.length;
  }

  reach(start: number, amount: number): number {
    return Math.min(start + amount, this.#length);
  }

  reachBack(from: number, end: number, amount: number): number {
    return Math.max(from, end - amount);
  }

  fits(start: number, end: number, amount: number): boolean {
    return end - start <= amount;
  }
}

/** Tokens of a text on its own. */
export type CountTokens = (text: string) => number;

/** Characters that a token stands for at most: a word that the vocabulary does not know is one token, however long. */
const MOST_CHARACTERS = 16;
/** Code units of one. */
const LONGEST_CHARACTER = 2;
/** What a tokenizer takes as one: a word, a mark, or white space. Longer words are counted by parts of them. */
const UNIT = /[^\s\p{P}$+<=>^`|~]{1,200}|[\p{P}$+<=>^`|~]|\s{1,200}/guy;

/** Units whose tokens are remembered: those of a few chunks, each of which is measured several times. */
const REMEMBERED_UNITS = 4_096;

/** By tokens, and at most so many characters for each. It reads as far as a chunk reaches. */
export class TokenRuler implements Ruler {
  readonly #text: string;
  readonly #count: CountTokens;
  readonly #counted = new Map<string, number>();

  constructor(text: string, count: CountTokens) {
    this.#text = text;
    this.#count = count;
  }

  reach(start: number, amount: number): number {
    const most = Math.min(start + amount * MOST_CHARACTERS, this.#text.length);
    let reached = start;
    let tokens = 0;
    for (const { end, tokens: more } of this.#units(start, most)) {
      tokens += more;
      if (tokens > amount) break;
      reached = end;
    }
    // A word of more tokens than that is cut: of its characters none is more than one, or hardly any.
    return reached > start ? Math.min(reached, most) : Math.min(start + Math.max(amount, LONGEST_CHARACTER), most);
  }

  reachBack(from: number, end: number, amount: number): number {
    const units = [...this.#units(Math.max(from, end - amount * MOST_CHARACTERS), end)];
    let start = end;
    let tokens = 0;
    for (const unit of units.reverse()) {
      tokens += unit.tokens;
      if (tokens > amount) break;
      start = unit.start;
    }
    return start;
  }

  fits(start: number, end: number, amount: number): boolean {
    return end - start <= amount * MOST_CHARACTERS && this.#count(this.#text.slice(start, end)) <= amount;
  }

  *#units(start: number, end: number): Generator<{ start: number; end: number; tokens: number }> {
    for (let at = splitsCharacter(this.#text, start) ? start + 1 : start; at < end; ) {
      UNIT.lastIndex = at;
      const unit = UNIT.exec(this.#text)?.[0] ?? this.#text.charAt(at);
      yield { start: at, end: at + unit.length, tokens: this.#tokensOf(unit) };
      at += unit.length;
    }
  }

  #tokensOf(unit: string): number {
    let tokens = this.#counted.get(unit);
    if (tokens === undefined) {
      tokens = this.#count(unit);
      if (this.#counted.size >= REMEMBERED_UNITS) this.#counted.clear();
      this.#counted.set(unit, tokens);
    }
    return tokens;
  }
}
