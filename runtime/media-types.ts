import { extname } from "node:path";

/** The media types that documents are read as, by file extension. */
const BY_EXTENSION: Readonly<Record<string, string>> = {
  ".txt": "text/plain",
  ".text": "text/plain",
  ".log": "text/plain",
  ".rst": "text/plain",
  ".adoc": "text/plain",
  ".md": "text/markdown",
  ".markdown": "text/markdown",
  ".html": "text/html",
  ".htm": "text/html",
  ".xhtml": "text/html",
};

/** The media type that a file's name stands for, or undefined when documents of that kind cannot be read. */
export function mediaTypeOf(name: string): string | undefined {
  return BY_EXTENSION[extname(name).toLowerCase()];
}
