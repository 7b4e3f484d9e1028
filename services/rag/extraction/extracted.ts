/** What is left of a document when its format is taken away. */
export interface Extracted {
  /** The text that is chunked, embedded and cited; never empty, lines end in "\n". */
  text: string;
  /** Whether headings and code in the text are marked as in Markdown. */
  structure: "markdown" | "plain";
  /** Parts that the text's own marks do not show, in its order: of a plain text. */
  sections?: readonly Section[];
  title?: string;
  /** The type that the document was read as. */
  mimeType: string;
  /** What the document says of itself, such as a page's description or a Markdown file's front matter. */
  metadata: Record<string, unknown>;
}

/** A part of a text, from its start to the next one's. */
export interface Section {
  /** In UTF-16 code units. */
  start: number;
  /** What it stands under, the outermost first; of JSON the keys that lead to it. May be empty. */
  path: readonly string[];
  /** The page that it is on, from 1. */
  page?: number;
}

export type ExtractionErrorKind =
  | "UNSUPPORTED_TYPE"
  | "INVALID_ENCODING"
  | "BINARY_CONTENT"
  | "EMPTY"
  | "TOO_LARGE"
  | "TOO_DEEP"
  | "MALFORMED"
  | "ENCRYPTED";

/** A document that no text can be got from; the message tells why and what to do about it. */
export class ExtractionError extends Error {
  readonly kind: ExtractionErrorKind;

  constructor(kind: ExtractionErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ExtractionError";
    this.kind = kind;
  }
}

/** The text as it is stored: PostgreSQL takes no zero character, and offsets should not depend on the system of origin. */
export function normalizeText(text: string): string {
  const unix = text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
  return unix.includes("\0") ? unix.replaceAll("\0", "") : unix;
}

/** @throws ExtractionError EMPTY */
export function assertNotEmpty(text: string): void {
  if (/\S/.test(text)) return;
  throw new ExtractionError("EMPTY", "The document has no text; leave it out, or check that the file was written completely.");
}
