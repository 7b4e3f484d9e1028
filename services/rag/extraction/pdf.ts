import { setImmediate } from "node:timers/promises";
import { assertNotEmpty, type Extracted, ExtractionError, normalizeText, type Section } from "./extracted.js";

export const MAX_PDF_PAGES = 5_000;
const MAX_METADATA_LENGTH = 1_000;
/** A gap between two lines larger than this many line heights is a paragraph's end. */
const PARAGRAPH_GAP = 1.6;

/** A piece of a page's text as pdf.js gives it. */
interface TextItem {
  str: string;
  hasEOL: boolean;
  height: number;
  /** The last two numbers are its place on the page, from the lower left corner. */
  transform: number[];
}

/**
 * The text of a PDF, page by page.
 * @throws ExtractionError for one that needs a password, is damaged, or shows pictures of text only.
 */
export async function extractPdf(content: Uint8Array, signal?: AbortSignal): Promise<Extracted> {
  // A large library: loaded by the first PDF.
  const { getDocumentProxy, getMeta } = await import("unpdf");
  const document = await getDocumentProxy(new Uint8Array(content), { verbosity: 0, stopAtErrors: false }).catch(refuse);
  try {
    if (document.numPages > MAX_PDF_PAGES) {
      throw new ExtractionError("TOO_LARGE", `The PDF has ${document.numPages} pages, more than the limit of ${MAX_PDF_PAGES}; split it.`);
    }
    let text = "";
    const pages: Section[] = [];
    for (let number = 1; number <= document.numPages; number += 1) {
      signal?.throwIfAborted();
      await setImmediate();
      const page = await document.getPage(number).catch(refuse);
      const { items } = await page.getTextContent().catch(refuse);
      page.cleanup();
      const pageText = normalizeText(joinLines(items.filter((item) => "str" in item) as TextItem[])).trim();
      if (pageText === "") continue;
      if (text !== "") text += "\n\n";
      pages.push({ start: text.length, path: [], page: number });
      text += pageText;
    }
    if (text === "") {
      throw new ExtractionError("EMPTY", "The PDF has no text, its pages are pictures; recognise the text first, for example with ocrmypdf.");
    }
    assertNotEmpty(text);
    const { info } = await getMeta(document).catch(() => ({ info: {} as Record<string, unknown> }));
    const title = textOf(info, "Title");
    const author = textOf(info, "Author");
    return {
      text,
      structure: "plain",
      sections: pages,
      mimeType: "application/pdf",
      metadata: { pages: document.numPages, ...(author !== "" && { author }) },
      ...(title !== "" && { title }),
    };
  } finally {
    await document.destroy();
  }
}

/** Lines as they stand, an empty one where the page leaves room, words joined that a line's end cut in two. */
function joinLines(items: readonly TextItem[]): string {
  let text = "";
  let lastY: number | undefined;
  let lineHeight = 0;
  let atLineStart = true;
  for (const { str, hasEOL, height, transform } of items) {
    const y = transform[5] ?? 0;
    if (atLineStart && str !== "") {
      if (lastY !== undefined && Math.abs(lastY - y) > PARAGRAPH_GAP * Math.max(lineHeight, height)) text += "\n";
      lastY = y;
      lineHeight = height;
      atLineStart = false;
    }
    text += str;
    if (hasEOL) {
      text += "\n";
      atLineStart = true;
    }
  }
  return text.replace(/(\p{Ll})-\n(?=\p{Ll})/gu, "$1");
}

function textOf(info: Record<string, unknown>, name: string): string {
  const value = info[name];
  return typeof value === "string" ? value.replace(/\s+/g, " ").trim().slice(0, MAX_METADATA_LENGTH) : "";
}

function refuse(cause: unknown): never {
  if (cause instanceof Error && cause.name === "PasswordException") {
    throw new ExtractionError("ENCRYPTED", "The PDF needs a password; save it without one.", { cause });
  }
  throw new ExtractionError("MALFORMED", "The PDF is damaged or incomplete; save or download it again.", { cause });
}
