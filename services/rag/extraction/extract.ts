/**
 * Documents to text: by the MIME type that came with them, else by the file name's extension, else by what they begin with.
 * A format is one file here, one line in `formats` and one in runtime/document-types.ts.
 */
import { DOCUMENT_TYPES, type DocumentType } from "../../../runtime/document-types.js";
import { extractCsv } from "./csv.js";
import { decodeText, looksBinary } from "./decode.js";
import { extractDocx } from "./docx.js";
import { type Extracted, ExtractionError } from "./extracted.js";
import { extractHtml } from "./html.js";
import { extractJson, extractJsonLines } from "./json.js";
import { extractMarkdown } from "./markdown.js";
import { extractPdf } from "./pdf.js";
import { extractPlainText } from "./text.js";

/** Larger documents are refused: they are held in memory while they are read. */
export const MAX_DOCUMENT_BYTES = 64 * 1024 * 1024;

export interface SourceDocument {
  /** Bytes of a file, or a text that came as one. */
  content: Uint8Array | string;
  /** The file's name or path, for its extension. */
  name?: string;
  /** Parameters such as charset are ignored: what the bytes say counts. */
  mimeType?: string;
}

interface Format extends DocumentType {
  /** What every document of the format begins with; absent for texts. */
  signature?: string;
  extract(content: Uint8Array | string, signal?: AbortSignal): Extracted | Promise<Extracted>;
}

const text = (content: Uint8Array | string) => (typeof content === "string" ? content : decodeText(content));
/** A text was given for bytes: its characters cannot be what the format says. */
const bytes = (content: Uint8Array | string) => (typeof content === "string" ? Buffer.from(content) : content);

const html: Format = { ...DOCUMENT_TYPES.html, extract: (content, signal) => extractHtml(content, signal) };
const plainText: Format = { ...DOCUMENT_TYPES.text, extract: (content) => extractPlainText(text(content)) };

const formats: readonly Format[] = [
  { ...DOCUMENT_TYPES.markdown, extract: (content) => extractMarkdown(text(content)) },
  html,
  { ...DOCUMENT_TYPES.pdf, signature: "%PDF-", extract: (content, signal) => extractPdf(bytes(content), signal) },
  { ...DOCUMENT_TYPES.docx, signature: "PK\x03\x04", extract: (content, signal) => extractDocx(bytes(content), signal) },
  { ...DOCUMENT_TYPES.csv, extract: (content, signal) => extractCsv(text(content), signal) },
  { ...DOCUMENT_TYPES.json, extract: (content) => extractJson(text(content)) },
  { ...DOCUMENT_TYPES.jsonLines, extract: (content, signal) => extractJsonLines(text(content), signal) },
  plainText,
];

/** Files that are known for what they are not: reading them as text would fill the index with noise. */
const signatures = [
  { name: "a PDF", bytes: "%PDF-" },
  { name: "a ZIP archive or an Office document", bytes: "PK\x03\x04" },
  { name: "an Office document of the old kind", bytes: "\xd0\xcf\x11\xe0" },
  { name: "a gzip archive", bytes: "\x1f\x8b" },
  { name: "a PNG image", bytes: "\x89PNG" },
  { name: "a JPEG image", bytes: "\xff\xd8\xff" },
  { name: "a program", bytes: "\x7fELF" },
];

/**
 * The document's text, title and metadata.
 * @throws ExtractionError telling why there is no text and what to do.
 */
export async function extract(document: SourceDocument, signal?: AbortSignal): Promise<Extracted> {
  const { content } = document;
  const size = typeof content === "string" ? Buffer.byteLength(content) : content.length;
  if (size > MAX_DOCUMENT_BYTES) {
    throw new ExtractionError(
      "TOO_LARGE",
      `The document has ${size} bytes, more than the limit of ${MAX_DOCUMENT_BYTES}; split it into smaller documents.`,
    );
  }
  if (size === 0) {
    throw new ExtractionError("EMPTY", "The document is empty; leave it out, or check that the file was written completely.");
  }
  return formatOf(document).extract(content, signal);
}

/**
 * The MIME type that a document is read as; its first kilobytes are enough.
 * @throws ExtractionError when it is of none that can be read.
 */
export function detectType(document: SourceDocument): string {
  return formatOf(document).mimeTypes[0]!;
}

function formatOf({ content, name, mimeType }: SourceDocument): Format {
  const declared = byMimeType(mimeType) ?? byExtension(name);
  const start = startOf(content);
  if (declared === undefined) {
    const signed = formats.find(({ signature }) => signature !== undefined && start.startsWith(signature));
    if (signed !== undefined) return signed;
  }
  refuseSignature(start, declared);
  if (declared !== undefined) return declared;
  if (typeof content !== "string" && looksBinary(content)) throw unsupported("of an unknown binary format");
  return looksLikeHtml(content) ? html : plainText;
}

/** The first bytes, a character each; empty for a text, which is nothing else. */
function startOf(content: Uint8Array | string): string {
  return typeof content === "string" ? "" : Buffer.from(content.subarray(0, 8)).toString("latin1");
}

function byMimeType(mimeType: string | undefined): Format | undefined {
  const type = mimeType?.split(";")[0]!.trim().toLowerCase();
  // What senders write that do not know the type.
  if (type === undefined || type === "" || type === "application/octet-stream") return undefined;
  const format = formats.find(({ mimeTypes }) => mimeTypes.includes(type)) ?? (type.startsWith("text/") ? plainText : undefined);
  if (format === undefined) throw unsupported(`of the type ${type}`);
  return format;
}

function byExtension(name: string | undefined): Format | undefined {
  const extension = /\.([^./\\]+)$/.exec(name ?? "")?.[1]?.toLowerCase();
  return formats.find(({ extensions }) => extension !== undefined && extensions.includes(extension));
}

function refuseSignature(start: string, declared: Format | undefined): void {
  const found = signatures.find(({ bytes: begin }) => start.startsWith(begin));
  if (found === undefined || (declared?.signature !== undefined && start.startsWith(declared.signature))) return;
  if (declared === undefined) throw unsupported(found.name);
  throw new ExtractionError("BINARY_CONTENT", `The document is ${found.name}, not ${declared.mimeTypes[0]}; give its true MIME type or extension.`);
}

function unsupported(what: string): ExtractionError {
  const known = formats.map(({ mimeTypes }) => mimeTypes[0]).join(", ");
  return new ExtractionError("UNSUPPORTED_TYPE", `The document is ${what}, which cannot be read; convert it to one of ${known}.`);
}

function looksLikeHtml(content: Uint8Array | string): boolean {
  const start = typeof content === "string" ? content.slice(0, 256) : Buffer.from(content.subarray(0, 256)).toString("latin1");
  return /^(?:\ufeff|ï»¿)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--[\s\S]*?-->\s*)*<(?:!doctype html|html|head|body)\b/i.test(start);
}
