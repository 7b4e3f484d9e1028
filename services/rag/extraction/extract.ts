/**
 * Documents to text: by the MIME type that came with them, else by the file name's extension, else by what they begin with.
 * A format is one file here, one line in `formats` and one in runtime/document-types.ts.
 */
import { DOCUMENT_TYPES, type DocumentType } from "../../../runtime/document-types.js";
import { extractCsv } from "./csv.js";
import { decodeText, looksBinary } from "./decode.js";
import { extractDocx } from "./docx.js";
import { type Extracted, ExtractionError } from "./extracted.js";
import { declaredEncoding, extractHtml } from "./html.js";
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
  /** Its charset is what the bytes are read in where they say nothing else. */
  mimeType?: string;
}

interface TextFormat extends DocumentType {
  signature?: undefined;
  extractText(text: string, signal?: AbortSignal): Extracted | Promise<Extracted>;
  /** The encoding that the document itself names. */
  declared?: (bytes: Uint8Array) => string | undefined;
}

interface BinaryFormat extends DocumentType {
  /** What every document of the format begins with. */
  signature: string;
  extractBytes(bytes: Uint8Array, signal?: AbortSignal): Promise<Extracted>;
}

type Format = TextFormat | BinaryFormat;

const html: Format = { ...DOCUMENT_TYPES.html, extractText: extractHtml, declared: declaredEncoding };
const plainText: Format = { ...DOCUMENT_TYPES.text, extractText: extractPlainText };

const formats: readonly Format[] = [
  { ...DOCUMENT_TYPES.markdown, extractText: extractMarkdown },
  html,
  { ...DOCUMENT_TYPES.pdf, signature: "%PDF-", extractBytes: extractPdf },
  { ...DOCUMENT_TYPES.docx, signature: "PK\x03\x04", extractBytes: extractDocx },
  { ...DOCUMENT_TYPES.csv, extractText: extractCsv },
  { ...DOCUMENT_TYPES.json, extractText: extractJson },
  { ...DOCUMENT_TYPES.jsonLines, extractText: extractJsonLines },
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
  const format = formatOf(document);
  // A text was given for bytes: its characters cannot be what the format says.
  if (format.signature !== undefined) return format.extractBytes(typeof content === "string" ? Buffer.from(content) : content, signal);
  if (typeof content === "string") return format.extractText(content, signal);
  const { text, encoding } = decodeText(content, charsetOf(document.mimeType) ?? format.declared?.(content));
  const { metadata, ...extracted } = await format.extractText(text, signal);
  return { ...extracted, metadata: { ...metadata, ...encodingMetadata(encoding) } };
}

/** What a document's metadata says of its encoding: nothing where it is the usual one. */
export function encodingMetadata(encoding: string): { encoding?: string } {
  return encoding === "utf-8" ? {} : { encoding };
}

/** The encoding that a media type names in its parameters. */
export function charsetOf(mimeType: string | undefined): string | undefined {
  return /;\s*charset\s*=\s*"?([\w.:-]+)/i.exec(mimeType ?? "")?.[1];
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
