import type { Citation, OnAnswerEvent, Passage } from "./answerer.js";
import { bestQuote } from "./quote.js";

/** Longest marker that is waited for, e.g. "[12, 3, 4]"; longer brackets are text. */
const MAX_MARKER = 40;

/**
 * Binds the [n] in a model's streamed answer to the passages that it was given.
 * Numbers become 1, 2, 3 ... in order of appearance, each with one citation;
 * numbers that no passage has are dropped from the text and counted. Brackets
 * in code are text.
 */
export class CitationBinder {
  readonly #passages: readonly Passage[];
  readonly #onEvent: OnAnswerEvent;
  readonly #citations: Citation[] = [];
  /** The citation's index by the passage's number. */
  readonly #indexes = new Map<number, number>();
  #text = "";
  /** Text that may still become a marker, or a space before one. */
  #held = "";
  #fence = "";
  #invented = 0;

  /**
   * @param passages by number: the first is [1].
   * @param onEvent told of what can be shown, as soon as it can.
   */
  constructor(passages: readonly Passage[], onEvent: OnAnswerEvent = () => {}) {
    this.#passages = passages;
    this.#onEvent = onEvent;
  }

  get text(): string {
    return this.#text;
  }

  get citations(): readonly Citation[] {
    return this.#citations;
  }

  /** Numbers that the model made up. */
  get invented(): number {
    return this.#invented;
  }

  /** Takes the next piece of the model's text. */
  write(piece: string): void {
    this.#held += piece;
    for (;;) {
      const at = this.#nextMark();
      if (at === -1) {
        // A space may belong to a marker that is dropped, a backtick to a longer fence.
        const keep = /[\s`]*$/.exec(this.#held)?.[0].length ?? 0;
        return this.#emit(this.#held.length - keep);
      }
      if (this.#held[at] === "`") {
        const run = /^`+/.exec(this.#held.slice(at))?.[0] ?? "`";
        if (at + run.length === this.#held.length) return this.#emit(at);
        this.#toggle(run);
        this.#emit(at + run.length);
        continue;
      }
      const rest = this.#held.slice(at);
      const marker = /^(?:\[\^?(\d+(?:\s*[,;]\s*\d+)*)\]|【(\d+)[^】]{0,20}】)(?!\()/.exec(rest);
      if (marker !== null && rest.length > marker[0].length) {
        this.#bind(at, marker[0], (marker[1] ?? marker[2] ?? "").split(/[,;]/).map(Number));
      } else if (/^[[【][\d^,;\s]*[\]】]?$/.test(rest) && rest.length < MAX_MARKER) {
        // The rest of it may come with the next piece.
        return this.#emit(at - (/\s*$/.exec(this.#held.slice(0, at))?.[0].length ?? 0));
      } else {
        this.#emit(at + 1);
      }
    }
  }

  /** Shows what was held back. Call once, after the last piece. */
  end(): void {
    const marker = /^(\s*)([[【])\^?(\d+(?:\s*[,;]\s*\d+)*)[\]】]$/.exec(this.#held);
    if (marker !== null && this.#fence === "") this.#bind((marker[1] ?? "").length, this.#held.trimStart(), (marker[3] ?? "").split(/[,;]/).map(Number));
    this.#held = this.#held.trimEnd();
    this.#emit(this.#held.length);
  }

  #nextMark(): number {
    return this.#held.search(this.#fence === "" ? /[[【`]/ : /`/);
  }

  #toggle(run: string): void {
    if (this.#fence === "") this.#fence = run;
    else if (run === this.#fence) this.#fence = "";
  }

  #bind(at: number, marker: string, numbers: number[]): void {
    const known = [...new Set(numbers)].filter((number) => number >= 1 && number <= this.#passages.length);
    this.#invented += numbers.length - known.length;
    const before = this.#held.slice(0, at);
    const after = this.#held.slice(at + marker.length);
    const fresh: Citation[] = [];
    const shown = known.map((number) => `[${this.#index(number, before, fresh)}]`).join("");
    this.#held = (shown === "" ? before.trimEnd() : before) + shown;
    this.#emit(this.#held.length);
    for (const citation of fresh) this.#onEvent({ citation });
    this.#held = after;
  }

  #index(number: number, before: string, fresh: Citation[]): number {
    const known = this.#indexes.get(number);
    if (known !== undefined) return known;
    const passage = this.#passages[number - 1] as Passage;
    const index = this.#citations.length + 1;
    const citation = { index, ...bestQuote(passage, lastSentence(this.#text + before)) };
    this.#indexes.set(number, index);
    this.#citations.push(citation);
    fresh.push(citation);
    return index;
  }

  #emit(length: number): void {
    if (length <= 0) return;
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    this.#text += text;
    this.#onEvent({ text });
  }
}

/** What a marker at the text's end speaks for. */
function lastSentence(text: string): string {
  const bare = text.slice(-600).replace(/\[\d+\]/g, "").trimEnd();
  return bare.split(/(?<=[.!?…])\s+|\n+/).filter((part) => part.trim() !== "").at(-1) ?? "";
}
