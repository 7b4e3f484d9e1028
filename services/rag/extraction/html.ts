import { setImmediate } from "node:timers/promises";
import { Parser } from "htmlparser2";
import { assertNotEmpty, type Extracted, ExtractionError, normalizeText } from "./extracted.js";
import { HtmlWriter } from "./html-writer.js";

/** Elements inside each other; browsers stop at 512. */
export const MAX_HTML_DEPTH = 2_000;
/** Characters parsed before other work of the process gets its turn: about 10 ms. */
const CHARACTERS_BETWEEN_TURNS = 262_144;
/** Where a page has to declare its encoding, by the HTML standard. */
const ENCODING_WITHIN = 1_024;
const MAX_METADATA_LENGTH = 1_000;

/**
 * A page as Markdown: its main part, with headings, lists, tables and code, without menus, scripts and the like.
 * @throws ExtractionError
 */
export async function extractHtml(source: string, signal?: AbortSignal): Promise<Extracted> {
  const html = normalizeText(source);
  let page = await readPage(html, true, signal);
  // All of it looked like menus: then the menus are what the page has to say.
  if (page.text === "") page = await readPage(html, false, signal);
  assertNotEmpty(page.text);
  return { text: page.text, structure: "markdown", mimeType: "text/html", metadata: page.metadata, ...(page.title !== "" && { title: page.title }) };
}

interface Page {
  text: string;
  title: string;
  metadata: Record<string, unknown>;
}

async function readPage(html: string, prune: boolean, signal?: AbortSignal): Promise<Page> {
  const writer = new HtmlWriter(prune);
  const metadata: Record<string, unknown> = {};
  let title = "";
  let inHead = 0;
  let inTitle = false;
  const parser = new Parser({
    onopentag(name, attributes) {
      if (writer.depth >= MAX_HTML_DEPTH) {
        throw new ExtractionError("TOO_DEEP", `The page nests more than ${MAX_HTML_DEPTH} elements; check that its tags are closed.`);
      }
      writer.open(name, attributes);
      if (name === "head") inHead++;
      if (name === "title" && inHead > 0) inTitle = true;
      if (name === "meta") addMetadata(metadata, attributes["name"], attributes["content"]);
      if (name === "html") addMetadata(metadata, "language", attributes["lang"]);
    },
    ontext(data) {
      if (inTitle) title += data;
      else if (inHead === 0) writer.write(data);
    },
    onclosetag(name) {
      writer.close(name);
      if (name === "head") inHead--;
      if (name === "title") inTitle = false;
    },
  });
  for (let at = 0; at < html.length; at += CHARACTERS_BETWEEN_TURNS) {
    if (at > 0) await setImmediate();
    signal?.throwIfAborted();
    parser.write(html.slice(at, at + CHARACTERS_BETWEEN_TURNS));
  }
  parser.end();
  return { text: writer.text(), title: title.replace(/\s+/g, " ").trim().slice(0, MAX_METADATA_LENGTH), metadata };
}

const metadataNames = new Set(["description", "author", "keywords", "language"]);

function addMetadata(metadata: Record<string, unknown>, name: string | undefined, value: string | undefined): void {
  const key = name?.toLowerCase();
  if (key === undefined || !metadataNames.has(key) || value === undefined || value.trim() === "" || key in metadata) return;
  metadata[key] = value.trim().slice(0, MAX_METADATA_LENGTH);
}

/** The encoding that a page says it is in; undefined where it says none, or cannot be in the one that it names. */
export function declaredEncoding(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.subarray(0, ENCODING_WITHIN)).toString("latin1");
  const label = /<meta[^>]+charset\s*=\s*["']?\s*([\w-]+)/i.exec(head)?.[1] ?? /^<\?xml[^>]+encoding\s*=\s*["']([\w-]+)/i.exec(head)?.[1];
  // A declaration that could be read at all is not in UTF-16, whatever it says.
  return label === undefined || /^utf-?16/i.test(label) ? undefined : label;
}
