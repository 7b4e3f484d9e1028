/** What a stretch of text is: what can answer, and what only surrounds it. */
export type SentenceKind = "prose" | "item" | "row" | "heading" | "code";

/** A sentence, list item, table row, heading or block of code; positions are UTF-16 code units in the text. */
export interface Sentence {
  start: number;
  end: number;
  kind: SentenceKind;
}

const FENCE = /^\s*(```|~~~)/;
const HEADING = /^\s{0,3}#{1,6}\s/;
const COMMENT_START = /^\s*<!--/;
const UNDERLINE = /^\s*(={3,}|-{3,}|\*{3,}|_{3,}|~{3,})\s*$/;
const ITEM = /^\s*(?:[-*+•]|\d{1,3}[.)]|\(\d{1,3}\))\s+/;
const ROW = /^\s*\|.*\|\s*$/;
const ROW_RULE = /^\s*\|[\s:|-]+\|\s*$/;
/** What an interpreter or a shell prints before a command. */
const PROMPT = /^\s*\\?(?:>>>|\.\.\.|\$)(?:\s|$)/;
const INDENTED = /^(?: {4}|\t)/;

/** Lower-case forms, without the last full stop, after which a sentence goes on. */
const ABBREVIATIONS = new Set(
  "e.g i.e etc vs cf al approx resp incl no nos fig figs sec ch vol pp ed eds mr mrs ms dr prof st inc ltd co jr sr dept est".split(" "),
);

/**
 * Cuts a plain or Markdown text into what can be quoted. White space, rules and
 * list markers between the stretches belong to none; lines that were wrapped
 * stay together.
 */
export function splitSentences(text: string): Sentence[] {
  const found: Sentence[] = [];
  let block: { start: number; end: number; kind: "prose" | "item" } | undefined;
  let code: Sentence | undefined;
  let fenced = false;
  let comment = false;
  const flush = () => {
    if (block !== undefined) pushSentences(text, block.start, block.end, block.kind, found);
    block = undefined;
  };
  for (const line of lines(text)) {
    if (comment || COMMENT_START.test(line.text)) {
      flush();
      comment = !line.text.includes("-->");
    } else if (FENCE.test(line.text)) {
      flush();
      if (!fenced) found.push((code = { ...trimmed(text, line.start, line.end), kind: "code" }));
      else if (code !== undefined) code.end = line.end;
      fenced = !fenced;
    } else if (fenced) {
      if (code !== undefined) code.end = trimmed(text, code.start, line.end).end;
    } else if (line.text.trim() === "" || ROW_RULE.test(line.text)) {
      flush();
    } else if (UNDERLINE.test(line.text)) {
      // The line above it was a title.
      if (block !== undefined) found.push({ ...trimmed(text, block.start, block.end), kind: "heading" });
      block = undefined;
    } else if (HEADING.test(line.text)) {
      flush();
      found.push({ ...trimmed(text, line.start, line.end), kind: "heading" });
    } else if (ROW.test(line.text)) {
      flush();
      found.push({ ...trimmed(text, line.start, line.end), kind: "row" });
    } else if (ITEM.test(line.text)) {
      flush();
      block = { start: line.start + (ITEM.exec(line.text)?.[0].length ?? 0), end: line.end, kind: "item" };
    } else if (PROMPT.test(line.text) || (block === undefined && INDENTED.test(line.text) && looksLikeCode(line.text))) {
      flush();
      found.push({ ...trimmed(text, line.start, line.end), kind: "code" });
    } else if (block === undefined) {
      block = { start: line.start, end: line.end, kind: "prose" };
    } else {
      block.end = line.end;
    }
  }
  flush();
  return found.filter(({ start, end }) => end > start);
}

function* lines(text: string): Generator<{ start: number; end: number; text: string }> {
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf("\n", start);
    const end = newline === -1 ? text.length : newline;
    yield { start, end, text: text.slice(start, end) };
    start = end + 1;
  }
}

function pushSentences(text: string, start: number, end: number, kind: "prose" | "item", into: Sentence[]): void {
  const block = text.slice(start, end);
  if (kind === "prose" && isTitle(block)) {
    into.push({ ...trimmed(text, start, end), kind: "heading" });
    return;
  }
  let from = start;
  for (const match of block.matchAll(/[.!?…]+["')\]”’»*_`]{0,4}(?=\s+\S)|[。！？]+[」』”]?/gu)) {
    const at = start + match.index + match[0].length;
    if (!isSentenceEnd(text, start + match.index, at)) continue;
    into.push({ ...trimmed(text, from, at), kind });
    from = at;
  }
  const rest = trimmed(text, from, end);
  if (rest.end > rest.start) into.push({ ...rest, kind });
}

/** Whether the terminator at [at, end) ends a sentence: not after an abbreviation or an initial, nor before a small letter. */
function isSentenceEnd(text: string, at: number, end: number): boolean {
  if (/[。！？]/.test(text[at] ?? "")) return true;
  const next = /\S/.exec(text.slice(end, end + 80))?.[0] ?? "";
  if (/\p{Ll}/u.test(next)) return false;
  if (text[at] !== ".") return true;
  const word = /[\p{L}\p{N}.]+$/u.exec(text.slice(Math.max(0, at - 16), at))?.[0].toLowerCase() ?? "";
  return !ABBREVIATIONS.has(word) && !/^\p{L}$/u.test(word);
}

/** A short line of its own that ends nothing. */
function isTitle(block: string): boolean {
  const line = block.trim();
  return line.length <= 80 && !line.includes("\n") && !/[.!?:;…。！？]["')\]*_`]*$/.test(line) && line.split(/\s+/).length <= 9;
}

function looksLikeCode(line: string): boolean {
  const marks = line.match(/[{}()[\];=<>$&|\\/_]/g)?.length ?? 0;
  return marks >= 2 || /^\s*(?:\$|>>>|#|%|\w+\s*=)/.test(line);
}

function trimmed(text: string, start: number, end: number): { start: number; end: number } {
  while (start < end && /\s/.test(text[start] as string)) start += 1;
  while (end > start && /\s/.test(text[end - 1] as string)) end -= 1;
  return { start, end };
}
