/** A heading of a Markdown text, with the headings that it stands under. */
export interface Heading {
  /** Its first character that is no white space, in UTF-16 code units. */
  start: number;
  /** Where the first thing that is no white space follows it. */
  contentStart: number;
  /** The titles from the outermost heading to this one. */
  path: readonly string[];
}

/** The lines from a fence to its closing one, both included, without the last line break. */
export interface CodeBlock {
  start: number;
  end: number;
}

/** A heading whose section is not over. */
export interface OpenHeading {
  level: number;
  title: string;
}

export interface Outline {
  headings: readonly Heading[];
  codeBlocks: readonly CodeBlock[];
  /** The headings that hold at the text's end, the outermost first. */
  open: readonly OpenHeading[];
}

/** Longer titles are cut: a path is shown beside every hit. */
const MAX_TITLE_LENGTH = 200;
/** Longer lines are no headings; they are not even looked at beyond their first characters. */
const MAX_HEADING_LINE = 1_000;

const fence = /^[ \t]*(`{3,}|~{3,})/;
const atxHeading = /^ {0,3}(#{1,6})(?=[ \t]|$)/;
const underline = /^ {0,3}(?:(=+)|-{2,})[ \t]*$/;
/** A term that a list of definitions explains below it, as manuals have them: `name` or `name` (`type`) on a line of its own. */
const definedTerm = /^`[^`]{1,80}`(?: \(`[^`]{1,80}`\))?$/;
/** Below all headings. */
const TERM_LEVEL = 7;
const noTitle = /^\s*(?:[-*+>|#`~]|\d+[.)]\s)/;

/** The outline of a text that marks nothing itself. */
export function sectionOutline(sections: readonly { readonly start: number; readonly path: readonly string[] }[]): Outline {
  return { headings: sections.map(({ start, path }) => ({ start, contentStart: start, path })), codeBlocks: [], open: [] };
}

/**
 * Finds the headings (#, underlined, and defined terms) and the fenced code blocks of a Markdown text, in one pass over its
 * lines. For a text that goes on where another ended, `above` are the headings that hold there.
 */
export function markdownOutline(text: string, above: readonly OpenHeading[] = []): Outline {
  const headings: Heading[] = above.length === 0 ? [] : [{ start: 0, contentStart: 0, path: titles(above) }];
  const codeBlocks: CodeBlock[] = [];
  const open = [...above];
  let code: { start: number; marker: string } | undefined;
  // The line before and the one before that, for titles that are underlined.
  let before = { start: 0, line: "" };
  let beforeIsFirst = false;

  const addHeading = (level: number, rawTitle: string, start: number, end: number) => {
    while (open.length > 0 && open.at(-1)!.level >= level) open.pop();
    open.push({ level, title: cleanTitle(rawTitle) });
    headings.push({ start: skipSpace(text, start), contentStart: skipSpace(text, end), path: titles(open) });
  };

  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf("\n", start);
    const end = newline === -1 ? text.length : newline;
    const line = text.slice(start, Math.min(end, start + MAX_HEADING_LINE)).trimEnd();
    const marker = fence.exec(line)?.[1];
    if (code !== undefined) {
      if (marker !== undefined && marker.startsWith(code.marker) && line.trim() === marker) {
        codeBlocks.push({ start: code.start, end });
        code = undefined;
      }
    } else if (marker !== undefined) {
      code = { start, marker };
    } else if (end - start <= MAX_HEADING_LINE) {
      const atx = atxHeading.exec(line);
      const underlined = beforeIsFirst ? underline.exec(line) : null;
      if (atx !== null) addHeading(atx[1]!.length, withoutClosing(line.slice(atx[0].length)), start, end);
      else if (definedTerm.test(line) && before.line.trim() === "" && text[end + 1] === "\n") addHeading(TERM_LEVEL, line, start, end);
      else if (underlined !== null && !noTitle.test(before.line)) addHeading(underlined[1] ? 1 : 2, before.line, before.start, end);
    }
    beforeIsFirst = line.trim() !== "" && before.line.trim() === "" && code === undefined;
    before = { start, line };
    start = end + 1;
  }
  // As in CommonMark, a fence that is never closed holds for the rest of the text.
  if (code !== undefined) codeBlocks.push({ start: code.start, end: text.length });
  return { headings, codeBlocks, open };
}

function titles(headings: readonly OpenHeading[]): string[] {
  return headings.map(({ title }) => title).filter((title) => title !== "");
}

/** A title may be closed by as many # as one likes, after a space. */
function withoutClosing(title: string): string {
  let end = title.length;
  while (title[end - 1] === "#") end--;
  return end === 0 || title[end - 1] === " " || title[end - 1] === "\t" ? title.slice(0, end) : title;
}

/** What a reader sees of a title: without marks of links, emphasis and code. */
function cleanTitle(raw: string): string {
  const title = raw
    .replace(/!?\[([^[\]]*)\]\([^()]*\)/g, "$1")
    .replace(/\*\*|`/g, "")
    .replace(/\\([!-/:-@[-`{-~])/g, "$1")
    .replace(/\s+/g, " ")
    .trim();
  return title.length > MAX_TITLE_LENGTH ? `${[...title.slice(0, MAX_TITLE_LENGTH)].slice(0, -1).join("")}…` : title;
}

function skipSpace(text: string, from: number): number {
  const space = /\s*/y;
  space.lastIndex = from;
  space.test(text);
  return space.lastIndex;
}
