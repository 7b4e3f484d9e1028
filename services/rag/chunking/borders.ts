/**
 * Where a text may be cut. A border is a position between two code units; a search between two positions looks at no more
 * characters than lie between them and a few around.
 */

const terminators = new Set(".!?…");
const unspacedTerminators = new Set("。！？｡");
const closers = new Set("\"')]}”’»*_`");
/** Closing marks looked at behind a sentence's last character. */
const MAX_CLOSERS = 4;

export function isSpace(code: number): boolean {
  if (code < 128) return code === 32 || (code >= 9 && code <= 13);
  return code === 0xa0 || code === 0x1680 || (code >= 0x2000 && code <= 0x200a) || code === 0x2028 || code === 0x2029 ||
    code === 0x202f || code === 0x205f || code === 0x3000 || code === 0xfeff;
}

/** True where a cut would tear a character of two code units apart. */
export function splitsCharacter(text: string, at: number): boolean {
  const low = text.charCodeAt(at);
  const high = text.charCodeAt(at - 1);
  return low >= 0xdc00 && low <= 0xdfff && high >= 0xd800 && high <= 0xdbff;
}

/** A line starts here, after an empty line. */
export function isParagraphStart(text: string, at: number): boolean {
  if (text[at - 1] !== "\n") return false;
  let before = at - 2;
  while (before >= 0 && (text[before] === " " || text[before] === "\t" || text[before] === "\r")) before--;
  return text[before] === "\n";
}

export function isLineStart(text: string, at: number): boolean {
  return text[at - 1] === "\n";
}

/** A word starts here. */
export function isWordStart(text: string, at: number): boolean {
  return at > 0 && isSpace(text.charCodeAt(at - 1)) && !isSpace(text.charCodeAt(at));
}

/**
 * A sentence starts here: white space lies before, and before it the end of a sentence; what starts is no small letter, so
 * that "e.g. this" holds together. Where sentences are not spaced, their full stop is enough.
 */
export function isSentenceStart(text: string, at: number): boolean {
  if (unspacedTerminators.has(text[at - 1] ?? "")) {
    const first = text[at] ?? "";
    return !closers.has(first) && !unspacedTerminators.has(first) && !isSpace(text.charCodeAt(at));
  }
  if (!isWordStart(text, at)) return false;
  let last = at - 1;
  while (last >= 0 && isSpace(text.charCodeAt(last))) last--;
  for (let i = 0; i < MAX_CLOSERS && closers.has(text[last] ?? ""); i++) last--;
  return terminators.has(text[last] ?? "") && !/\p{Ll}/u.test(String.fromCodePoint(text.codePointAt(at)!));
}

type Border = (text: string, at: number) => boolean;

/** The last border in [from, to], or undefined. */
export function lastBorder(text: string, from: number, to: number, border: Border): number | undefined {
  for (let at = to; at >= from; at--) if (border(text, at)) return at;
  return undefined;
}

/** The first border in [from, to), or undefined. */
export function firstBorder(text: string, from: number, to: number, border: Border): number | undefined {
  for (let at = from; at < to; at++) if (border(text, at)) return at;
  return undefined;
}
