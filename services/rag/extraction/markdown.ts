import { parse } from "yaml";
import { markdownOutline } from "../chunking/outline.js";
import { assertNotEmpty, type Extracted, normalizeText } from "./extracted.js";

/** A longer block between two lines of dashes at the start is text, not front matter. */
const MAX_FRONT_MATTER = 65_536;
/** The first heading is looked for in no more characters than these. */
const TITLE_WITHIN = 16_384;

/** A Markdown file is its own text, without the front matter, which becomes metadata. */
export function extractMarkdown(source: string): Extracted {
  const { metadata, body } = splitFrontMatter(normalizeText(source));
  assertNotEmpty(body);
  const title = titleOf(metadata, body);
  return { text: body, structure: "markdown", mimeType: "text/markdown", metadata, ...(title !== undefined && { title }) };
}

function splitFrontMatter(text: string): { metadata: Record<string, unknown>; body: string } {
  const block = /^---[ \t]*\n([\s\S]*?)\n(?:---|\.\.\.)[ \t]*(?:\n|$)/.exec(text.slice(0, MAX_FRONT_MATTER));
  const metadata = block === null ? undefined : parseMapping(block[1]!);
  return metadata === undefined ? { metadata: {}, body: text } : { metadata, body: text.slice(block![0].length) };
}

/** Undefined for what is no YAML mapping: the dashes were a rule then, and what stands between them is text. */
function parseMapping(yaml: string): Record<string, unknown> | undefined {
  let value: unknown;
  try {
    value = parse(yaml, { maxAliasCount: 0, logLevel: "error" });
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  // What JSON cannot say (dates, not-a-number) becomes what JSON makes of it: metadata is stored and filtered as JSON.
  return JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
}

function titleOf(metadata: Record<string, unknown>, body: string): string | undefined {
  if (typeof metadata["title"] === "string" && metadata["title"].trim() !== "") return metadata["title"].trim();
  return markdownOutline(body.slice(0, TITLE_WITHIN)).headings[0]?.path.at(-1);
}
