import { isLineStart, isParagraphStart, isWordStart, lastBorder, splitsCharacter } from "./borders.js";
import { type Chunk, type ChunkingOptions, chunkText } from "./chunker.js";
import { markdownOutline, type OpenHeading } from "./outline.js";

/** A window is cut when this many characters have come. */
const WINDOW_CHARACTERS = 1_000_000;

/** The chunks of one part of a text; their positions count from the start of all of it. */
export interface Window {
  /** From 0. The same text and options give the same windows. */
  readonly number: number;
  readonly text: string;
  /** Where the window starts in the whole text, in UTF-16 code units. */
  readonly start: number;
  readonly above: readonly OpenHeading[];
}

/**
 * Cuts a text that comes in pieces into windows of about a million characters, at headings, paragraphs or lines, so that each can
 * be chunked on its own: memory does not grow with the text.
 */
export async function* cutWindows(pieces: AsyncIterable<string>, structure: ChunkingOptions["structure"], size = WINDOW_CHARACTERS): AsyncGenerator<Window> {
  let text = "";
  let start = 0;
  let number = 0;
  let above: readonly OpenHeading[] = [];
  const take = (end: number): Window => {
    const window = { number, text: text.slice(0, end), start, above };
    if (structure === "markdown") above = markdownOutline(window.text, above).open;
    text = text.slice(end);
    start += end;
    number += 1;
    return window;
  };
  for await (const piece of pieces) {
    text += piece;
    while (text.length > size) yield take(windowEnd(text.slice(0, size), structure));
  }
  if (text.length > 0) yield take(text.length);
}

/** A window's chunks, as chunkText makes them. */
export function chunkWindow({ text, start, above }: Window, options: Omit<ChunkingOptions, "above" | "sections">): Chunk[] {
  return chunkText(text, { ...options, above }).map((chunk) => ({ ...chunk, start: chunk.start + start, end: chunk.end + start }));
}

/** The last place in the second half of a text where something ends, the largest thing first; code blocks stay whole. */
function windowEnd(text: string, structure: ChunkingOptions["structure"]): number {
  const half = Math.ceil(text.length / 2);
  const { headings, codeBlocks } = structure === "markdown" ? markdownOutline(text) : { headings: [], codeBlocks: [] };
  const heading = headings.findLast((one) => one.start >= half);
  if (heading !== undefined) return heading.start;
  const code = codeBlocks.findLast((one) => one.end >= text.length);
  const limit = code !== undefined && code.start >= half ? code.start : text.length;
  const border = [isParagraphStart, isLineStart, isWordStart].map((kind) => lastBorder(text, half, limit - 1, kind)).find((at) => at !== undefined);
  if (border !== undefined) return border;
  return splitsCharacter(text, limit - 1) ? limit - 2 : limit - 1;
}
