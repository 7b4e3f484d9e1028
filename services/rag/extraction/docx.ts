import { type Extracted, ExtractionError } from "./extracted.js";
import { extractHtml } from "./html.js";
import { inflatedSize, zipEntries } from "./zip.js";

export const DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
/** What the archive may inflate to, in bytes: its text is held in memory several times while it is read. */
export const MAX_DOCX_BYTES = 64 * 1024 * 1024;

/**
 * The text of a Word document with its headings, lists and tables. Pictures are left out.
 * @throws ExtractionError for one that is damaged, needs a password, or inflates to more than the limit.
 */
export async function extractDocx(content: Uint8Array, signal?: AbortSignal): Promise<Extracted> {
  await checkSize(content);
  signal?.throwIfAborted();
  // A large library: loaded by the first Word document.
  const { default: mammoth } = await import("mammoth");
  const buffer = Buffer.from(content.buffer, content.byteOffset, content.length);
  const convertImage = mammoth.images.imgElement(async () => ({ src: "" }));
  const { value } = await mammoth.convertToHtml({ buffer }, { convertImage }).catch((cause: unknown) => {
    throw new ExtractionError("MALFORMED", "The Word document is damaged or incomplete; save it again.", { cause });
  });
  const { title, text } = await extractHtml(`<body>${value}</body>`, signal);
  const heading = title ?? /^#\s+(.+)$/m.exec(text.slice(0, 2_000))?.[1];
  return { text, structure: "markdown", mimeType: DOCX_TYPE, metadata: {}, ...(heading !== undefined && { title: heading }) };
}

async function checkSize(content: Uint8Array): Promise<void> {
  const entries = zipEntries(content);
  if (!entries.some(({ name }) => name.startsWith("word/"))) {
    throw new ExtractionError("UNSUPPORTED_TYPE", "The document is a ZIP archive but no Word document; save it as .docx, PDF or HTML.");
  }
  let left = MAX_DOCX_BYTES;
  for (const entry of entries) {
    left -= await inflatedSize(entry, left);
    if (left < 0) {
      throw new ExtractionError("TOO_LARGE", `The Word document inflates to more than the limit of ${MAX_DOCX_BYTES} bytes; split it.`);
    }
  }
}
