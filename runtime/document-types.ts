import { extname } from "node:path";

/** A kind of document that can be read: the media types and the file extensions (lower case, without the dot) that name it. */
export interface DocumentType {
  readonly mimeTypes: readonly string[];
  readonly extensions: readonly string[];
}

/** What rag can read, and so what the command offers to upload. */
export const DOCUMENT_TYPES = {
  markdown: { mimeTypes: ["text/markdown", "text/x-markdown"], extensions: ["md", "markdown", "mdown", "mkd"] },
  html: { mimeTypes: ["text/html", "application/xhtml+xml"], extensions: ["html", "htm", "xhtml"] },
  pdf: { mimeTypes: ["application/pdf"], extensions: ["pdf"] },
  docx: { mimeTypes: ["application/vnd.openxmlformats-officedocument.wordprocessingml.document"], extensions: ["docx"] },
  csv: { mimeTypes: ["text/csv", "text/tab-separated-values"], extensions: ["csv", "tsv"] },
  json: { mimeTypes: ["application/json"], extensions: ["json"] },
  jsonLines: { mimeTypes: ["application/x-ndjson", "application/jsonl", "application/x-jsonlines"], extensions: ["jsonl", "ndjson"] },
  text: { mimeTypes: ["text/plain"], extensions: ["txt", "text", "log", "rst", "adoc", "org", "tex"] },
} satisfies Record<string, DocumentType>;

const EXTENSIONS: ReadonlySet<string> = new Set(Object.values(DOCUMENT_TYPES).flatMap(({ extensions }) => extensions));

/** Whether a file's name says that it is a document that can be read. */
export function isDocumentName(name: string): boolean {
  return EXTENSIONS.has(extname(name).slice(1).toLowerCase());
}
