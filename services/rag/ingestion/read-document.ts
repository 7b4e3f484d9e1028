import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { open, realpath } from "node:fs/promises";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import type { JobDocument, JobStore } from "../store/store.js";
import { DocumentError } from "./document-failure.js";

/** The largest document, as the schema of an upload says: 200 MiB. */
export const MAX_DOCUMENT_BYTES = 200 * 1024 * 1024;

const READ_BYTES = 1024 * 1024;

/** The document's bytes in order, from where the job has them. Throws DocumentError when they cannot be had. */
export function documentBytes(store: Pick<JobStore, "readPart">, jobId: string, document: JobDocument): AsyncGenerator<Uint8Array> {
  if (document.sizeBytes > MAX_DOCUMENT_BYTES) throw tooLarge(document.sizeBytes);
  return document.file === undefined ? stagedBytes(store, jobId, document) : fileBytes(document.file);
}

/** All of the bytes, and their SHA-256 in hex. */
export async function readWhole(bytes: AsyncIterable<Uint8Array>): Promise<{ content: Uint8Array; hash: string }> {
  const parts: Uint8Array[] = [];
  const hash = createHash("sha256");
  for await (const part of bytes) {
    // Part by part: all of a large document would be one long turn of the event loop.
    hash.update(part);
    parts.push(part);
  }
  return { content: parts.length === 1 ? parts[0]! : Buffer.concat(parts), hash: hash.digest("hex") };
}

async function* stagedBytes(store: Pick<JobStore, "readPart">, jobId: string, { ordinal, sizeBytes }: JobDocument): AsyncGenerator<Uint8Array> {
  for (let part = 0, read = 0; read < sizeBytes; part += 1) {
    const bytes = await store.readPart(jobId, ordinal, part);
    if (bytes === undefined) return;
    read += bytes.length;
    yield bytes;
  }
}

async function* fileBytes(path: string): AsyncGenerator<Uint8Array> {
  // The path was resolved when it was found; if it leads elsewhere now, a folder on the way became a link.
  if ((await realpath(path).catch(() => undefined)) !== path) throw gone();
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(readFailure);
  try {
    const stat = await file.stat();
    if (stat.isDirectory()) throw unreadable("folder");
    if (!stat.isFile()) throw gone();
    if (stat.size > MAX_DOCUMENT_BYTES) throw tooLarge(stat.size);
    let total = 0;
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(Math.min(READ_BYTES, Math.max(stat.size - total, 1))));
      if (bytesRead === 0) return;
      total += bytesRead;
      // It may grow while it is read.
      if (total > MAX_DOCUMENT_BYTES) throw tooLarge(total);
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

function readFailure(error: NodeJS.ErrnoException): never {
  if (error.code === "ENOENT" || error.code === "ELOOP") throw gone();
  if (error.code === "EACCES" || error.code === "EPERM") throw unreadable("file", error);
  throw error;
}

function unreadable(what: "file" | "folder", cause?: unknown): DocumentError {
  return new DocumentError(ErrorReason.UNREADABLE_DOCUMENT, `The server may not read the ${what}; change its permissions.`, { cause });
}

function gone(): DocumentError {
  return new DocumentError(ErrorReason.UNREADABLE_DOCUMENT, "The file is no longer there; ingest its folder again.");
}

function tooLarge(bytes: number): DocumentError {
  return new DocumentError(
    ErrorReason.DOCUMENT_TOO_LARGE,
    `The document has ${bytes} bytes or more, the limit is ${MAX_DOCUMENT_BYTES} (200 MiB); split it into smaller documents.`,
  );
}

/** The first bytes, at most those of the first part that comes. */
export async function readStart(bytes: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  for await (const part of bytes) return part;
  return new Uint8Array();
}
