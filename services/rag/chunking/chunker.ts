/**
 * Cuts a text into chunks for retrieval, in one pass. A chunk ends where the text itself ends something: before a
 * heading, between paragraphs, sentences, lines, words, in this order of preference, inside the second half of its size. It
 * starts with the last sentences of the chunk before it, as many as the overlap allows, but never repeats across a
 * heading. A fenced code block that fits into a chunk is not cut.
 *
 * The same text and options always give the same chunks.
 */
import {
  firstBorder,
  isLineStart,
  isParagraphStart,
  isSentenceStart,
  isSpace,
  isWordStart,
  lastBorder,
  splitsCharacter,
} from "./borders.js";
import { CharacterRuler, type CountTokens, type Ruler, TokenRuler } from "./ruler.js";
import { type CodeBlock, type Heading, markdownOutline, type OpenHeading, type Outline, sectionOutline } from "./outline.js";

/** Positions are UTF-16 code units in the text that was cut: `text === source.slice(start, end)`. */
export interface Chunk {
  start: number;
  end: number;
  text: string;
  /** The titles that all of the chunk stands under, the outermost first. */
  headingPath: readonly string[];
}

export interface ChunkingOptions {
  /** Most characters of a chunk, or tokens. */
  size: number;
  /** Most that a chunk repeats of the one before; at most half of the size. */
  overlap: number;
  /** Counts tokens, where size and overlap are given in them. */
  countTokens?: CountTokens | undefined;
  /** "markdown" knows headings and fenced code, "plain" only paragraphs. */
  structure: "markdown" | "plain";
  /** Where parts of a plain text begin that it does not mark itself, and the titles that they stand under. */
  sections: readonly { readonly start: number; readonly path: readonly string[] }[];
  /** Headings that hold where the text begins: for the parts of a text that is too long to be cut at once. */
  above: readonly OpenHeading[];
}

export const defaultChunking: ChunkingOptions = { size: 1_000, overlap: 200, structure: "markdown", sections: [], above: [] };
export const MIN_CHUNK_SIZE = 16;

/** Options that no text can be cut by. */
export class ChunkingError extends Error {
  readonly kind: "BAD_SIZE" | "BAD_OVERLAP";

  constructor(kind: "BAD_SIZE" | "BAD_OVERLAP", message: string) {
    super(message);
    this.name = "ChunkingError";
    this.kind = kind;
  }
}

/**
 * The text's chunks in its order. Every character that is no white space is in at least one of them; none is longer than
 * the size, starts or ends with white space, or tears a character of two code units.
 * @throws ChunkingError when size or overlap are out of bounds.
 */
export function chunkText(text: string, options: Partial<ChunkingOptions> = {}): Chunk[] {
  const settings = { ...defaultChunking, ...options };
  check(settings);
  return new Chunker(text, settings).chunks();
}

function check({ size, overlap }: ChunkingOptions): void {
  if (!Number.isInteger(size) || size < MIN_CHUNK_SIZE) {
    throw new ChunkingError("BAD_SIZE", `The chunk size must be a whole number of at least ${MIN_CHUNK_SIZE}, not ${size}.`);
  }
  if (!Number.isInteger(overlap) || overlap < 0 || overlap > size / 2) {
    throw new ChunkingError(
      "BAD_OVERLAP",
      `The overlap must be a whole number from 0 to half of the chunk size (${Math.floor(size / 2)}), not ${overlap}.`,
    );
  }
}

class Chunker {
  readonly #text: string;
  readonly #size: number;
  readonly #overlap: number;
  readonly #ruler: Ruler;
  readonly #outline: Outline;
  // The first heading and code block that end behind the position reached: both only ever move on.
  #heading = 0;
  #code = 0;

  constructor(text: string, { size, overlap, countTokens, structure, sections, above }: ChunkingOptions) {
    this.#text = text;
    this.#ruler = countTokens === undefined ? new CharacterRuler(text) : new TokenRuler(text, countTokens);
    this.#size = size;
    this.#overlap = overlap;
    this.#outline = structure === "markdown" ? markdownOutline(text, above) : sectionOutline(sections);
  }

  chunks(): Chunk[] {
    const chunks: Chunk[] = [];
    // Everything before `fresh` is in a chunk already; from `start` to there is the overlap.
    let fresh = this.#skipSpace(0);
    let start = fresh;
    while (fresh < this.#text.length) {
      this.#moveTo(start);
      let cut = this.#fittingCut(start, fresh);
      if (cut <= fresh) {
        // With the overlap before it, a code block does not fit that does without.
        start = fresh;
        this.#moveTo(start);
        cut = this.#fittingCut(start, fresh);
      }
      chunks.push(this.#chunk(start, cut));
      const next = this.#skipSpace(cut);
      start = next < this.#text.length ? this.#overlapStart(start, cut, next) : next;
      fresh = next;
    }
    return chunks;
  }

  #moveTo(start: number): void {
    const { headings, codeBlocks } = this.#outline;
    while (this.#heading + 1 < headings.length && headings[this.#heading + 1]!.start <= start) this.#heading++;
    while (this.#code < codeBlocks.length && codeBlocks[this.#code]!.end <= start) this.#code++;
  }

  /** The cut by a size at which the chunk fits: a text may have more tokens than the parts that it was measured by. */
  #fittingCut(start: number, fresh: number): number {
    for (let size = this.#size; ; size = Math.ceil(size * 0.9) - 1) {
      const cut = this.#cut(start, fresh, size);
      if (cut <= fresh || size <= 1 || this.#ruler.fits(start, this.#trimEnd(start, cut), this.#size)) return cut;
    }
  }

  /** Where the chunk that begins at `start` ends. At most `fresh` when a code block has to be moved to the next chunk. */
  #cut(start: number, fresh: number, size: number): number {
    const limit = this.#ruler.reach(start, size);
    const half = this.#ruler.reach(start, Math.ceil(size / 2));
    const heading = this.#headingIn(Math.max(half, fresh + 1), limit, "first");
    if (heading !== undefined) return heading.start;
    if (limit === this.#text.length) return limit;
    const lateHeading = this.#headingIn(Math.max(this.#ruler.reach(start, Math.ceil(size / 4)), fresh + 1), limit, "last");
    if (lateHeading !== undefined) return lateHeading.start;

    const code = this.#codeAround(limit);
    if (code !== undefined) {
      const fits = this.#ruler.fits(code.start, code.end, size);
      if (fits && code.start > start) return Math.max(fresh, this.#beforeLoneHeading(code.start, start, fresh));
      return this.#cutInCode(Math.max(half, fresh + 1), limit, fresh);
    }
    const cut = this.#cutInProse(Math.max(half, fresh + 1), limit, fresh);
    return this.#beforeLoneHeading(cut, start, fresh);
  }

  #cutInProse(from: number, limit: number, fresh: number): number {
    const text = this.#text;
    return (
      lastBorder(text, from, limit, isParagraphStart) ??
      lastBorder(text, from, limit, isSentenceStart) ??
      lastBorder(text, from, limit, isLineStart) ??
      this.#cutAnywhere(limit, fresh)
    );
  }

  #cutInCode(from: number, limit: number, fresh: number): number {
    const text = this.#text;
    return lastBorder(text, from, limit, isParagraphStart) ?? lastBorder(text, from, limit, isLineStart) ?? this.#cutAnywhere(limit, fresh);
  }

  #cutAnywhere(limit: number, fresh: number): number {
    const word = lastBorder(this.#text, fresh + 1, limit, isWordStart);
    if (word !== undefined) return word;
    return splitsCharacter(this.#text, limit) ? limit - 1 : limit;
  }

  /** A heading is not left alone at a chunk's end: the cut moves before it, where something is left to end there. */
  #beforeLoneHeading(cut: number, start: number, fresh: number): number {
    const heading = this.#headingIn(Math.max(start, fresh) + 1, cut, "last");
    return heading !== undefined && cut <= heading.contentStart ? heading.start : cut;
  }

  /** The first or last heading that starts in [from, to]. */
  #headingIn(from: number, to: number, which: "first" | "last"): Heading | undefined {
    const { headings } = this.#outline;
    let found: Heading | undefined;
    for (let i = this.#heading; i < headings.length && headings[i]!.start <= to; i++) {
      if (headings[i]!.start < from) continue;
      found = headings[i];
      if (which === "first") break;
    }
    return found;
  }

  /** The code block that a cut at this position would go through. */
  #codeAround(at: number): CodeBlock | undefined {
    const { codeBlocks } = this.#outline;
    for (let i = this.#code; i < codeBlocks.length && codeBlocks[i]!.start < at; i++) {
      if (codeBlocks[i]!.end > at) return codeBlocks[i];
    }
    return undefined;
  }

  /** Where the chunk after a cut begins: with whole sentences of this one, else with whole words. */
  #overlapStart(start: number, cut: number, next: number): number {
    const text = this.#text;
    if (this.#overlap === 0 || this.#headingIn(cut, next, "first") !== undefined) return next;
    const heading = this.#headingIn(start, cut, "last");
    let from = this.#ruler.reachBack(Math.max(start + 1, heading?.start ?? 0), next, this.#overlap);
    if (heading?.start === from) return from;
    const code = this.#codeAround(from);
    // Half a code block helps nobody, unless the chunk itself ends inside it.
    if (code !== undefined && code.end <= next) from = code.end;
    const found =
      firstBorder(text, from, next, (_, at) => isSentenceStart(text, at) || (isLineStart(text, at) && !isSpace(text.charCodeAt(at)))) ??
      firstBorder(text, from, next, isWordStart);
    if (found !== undefined) return found;
    if (splitsCharacter(text, from)) from++;
    return from < this.#trimEnd(start, cut) ? from : next;
  }

  #chunk(start: number, cut: number): Chunk {
    const end = this.#trimEnd(start, cut);
    return { start, end, text: this.#text.slice(start, end), headingPath: this.#headingPath(start, end) };
  }

  #headingPath(start: number, end: number): readonly string[] {
    const { headings } = this.#outline;
    const first = headings[this.#heading];
    if (first === undefined) return [];
    let path = first.start <= start ? first.path : [];
    for (let i = this.#heading + (first.start <= start ? 1 : 0); i < headings.length && headings[i]!.start < end; i++) {
      // Text before a document's first heading takes the title that follows it.
      path = i === 0 ? headings[0]!.path : commonStart(path, headings[i]!.path);
    }
    return path;
  }

  #skipSpace(from: number): number {
    let at = from;
    while (at < this.#text.length && isSpace(this.#text.charCodeAt(at))) at++;
    return at;
  }

  #trimEnd(start: number, cut: number): number {
    let end = cut;
    while (end > start && isSpace(this.#text.charCodeAt(end - 1))) end--;
    return end;
  }
}

function commonStart(a: readonly string[], b: readonly string[]): readonly string[] {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length === a.length ? a : a.slice(0, length);
}
