/** Text at the start of a block that a reader of Markdown would take for a mark. */
const looksLikeMark = /^(?:#{1,6}(?=\s|$)|`{3}|~{3}|[=-]{2,}\s*$)/;
const listMarker = /^\s*(?:-|\d+\.) $/;

/**
 * A Markdown text that is written from start to end, and whose end can be taken back. Between blocks stand as many line breaks
 * as the strongest wish of either side; white space is never doubled.
 */
export class MarkdownOutput {
  readonly #pieces: string[] = [];
  /** Characters written that are no white space. */
  #characters = 0;
  /** Line breaks owed before the next text. */
  #breaks = 0;
  #afterSpace = true;
  #atBlockStart = true;

  /** Where the next piece will stand: a place to come back to. */
  get position(): number {
    return this.#pieces.length;
  }

  get characters(): number {
    return this.#characters;
  }

  /** What was written from one position to another. */
  slice(start: number, end?: number): string {
    return this.#pieces.slice(start, end).join("");
  }

  /** Text of a paragraph; runs of white space become one space. */
  text(data: string): void {
    let text = data.replace(/[\s\u00a0]+/g, " ");
    if (this.#breaks > 0 || this.#afterSpace) text = text.trimStart();
    if (text === "") return;
    this.flushBreaks();
    if (this.#atBlockStart && looksLikeMark.test(text)) text = `\\${text}`;
    this.#atBlockStart = false;
    this.#afterSpace = text.endsWith(" ");
    this.verbatim(text);
  }

  /** Text as it is. */
  verbatim(text: string): void {
    this.#pieces.push(text);
    for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 32) this.#characters++;
  }

  /** What is no text of the page, such as a list's dash; what follows starts without white space. */
  mark(mark: string): void {
    this.flushBreaks();
    this.#pieces.push(mark);
    this.#afterSpace = true;
    this.#atBlockStart = false;
  }

  /** A space, where there is none yet. */
  space(): void {
    if (!this.#afterSpace) this.mark(" ");
  }

  get isAfterSpace(): boolean {
    return this.#afterSpace;
  }

  /** What follows starts on a new line (1) or after an empty one (2); right after a list's marker, on the same line. */
  break(lines: 1 | 2): void {
    const afterMarker = this.#breaks === 0 && this.#afterSpace && listMarker.test(this.#pieces.at(-1) ?? "");
    if (this.#pieces.length > 0 && !afterMarker) this.#breaks = Math.max(this.#breaks, lines);
  }

  /** What follows starts on the next line, whatever was asked for before. */
  tightBreak(): void {
    this.break(1);
    this.#breaks = Math.min(this.#breaks, 1);
  }

  flushBreaks(): void {
    if (this.#breaks === 0) return;
    const last = this.#pieces.length - 1;
    if (last >= 0) this.#pieces[last] = this.#pieces[last]!.trimEnd();
    this.#pieces.push("\n".repeat(this.#breaks));
    this.#breaks = 0;
    this.#atBlockStart = true;
  }

  /** Forgets all that was written since a position, when as many characters had been. */
  takeBack(position: number, characters: number): void {
    this.#pieces.length = position;
    this.#characters = characters;
    const last = this.#pieces.at(-1);
    this.#afterSpace = last === undefined || last.trimEnd() !== last;
  }

  /** Writes something else in the place of all since a position, with the same characters. */
  replaceSince(position: number, ...pieces: readonly string[]): void {
    this.#pieces.length = position;
    this.#pieces.push(...pieces);
  }

  /** Writes a block that ends in no white space in the place of all since a position. */
  replaceWithBlock(position: number, block: string): void {
    this.replaceSince(position, ...(block === "" ? [] : [block]));
    this.#afterSpace = true;
    this.break(2);
  }

  /** Puts an empty line in the place of one piece. */
  emptyLineAt(position: number): void {
    if (position < this.#pieces.length) this.#pieces[position] = "\n\n";
  }
}
