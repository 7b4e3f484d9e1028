import { createHash, type Hash } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import type { UploadFile } from "../../../gen/ragents/rag/v1/rag_service_pb.js";
import type { Clock } from "../../../runtime/clock.js";
import { invalidField, meshError } from "../../../runtime/errors.js";
import { duplicateDocument } from "../errors.js";
import { type JobDocument, type JobStore, LeaseLostError, type StagedDocuments } from "../store/store.js";
import { MAX_DOCUMENT_BYTES } from "./read-document.js";
import { storableJson } from "../store/stored-json.js";

/** Files of one upload. */
export const MAX_UPLOAD_FILES = 20_000;
/** An upload that stands still for this long is given up. */
export const STAGING_LEASE_MS = 10 * 60_000;
const PART_BYTES = 1024 * 1024;
/** Bytes and files that are held back to be written together. */
const FLUSH_BYTES = 4 * PART_BYTES;
const FLUSH_FILES = 500;

/** Writes the files of an upload beside a job that is not queued yet, with bounded memory. */
export class Upload {
  readonly #store: JobStore;
  readonly #clock: Clock;
  readonly #jobId: string;
  readonly #ids = new Set<string>();
  #staged: Staged = { documents: [], parts: [], hashes: [] };
  #heldBytes = 0;
  /** Of the file that is being read. */
  #open: OpenFile | undefined;

  constructor(store: JobStore, clock: Clock, jobId: string) {
    this.#store = store;
    this.#clock = clock;
    this.#jobId = jobId;
  }

  /** Begins the next file. */
  async startFile({ documentId, mimeType, metadata, readers }: Pick<UploadFile, "documentId" | "mimeType" | "metadata" | "readers">): Promise<void> {
    this.#endFile();
    if (this.#ids.has(documentId)) throw duplicateDocument("file.document_id", documentId);
    if (this.#ids.size === MAX_UPLOAD_FILES) {
      throw invalidField("file", `an upload has at most ${MAX_UPLOAD_FILES} files; send several`, ErrorReason.DOCUMENT_TOO_LARGE);
    }
    const ordinal = this.#ids.size;
    this.#ids.add(documentId);
    this.#staged.documents.push({ ordinal, documentId, source: documentId, mimeType, metadata: storableJson(metadata ?? {}), readers, sizeBytes: 0 });
    this.#open = { ordinal, parts: 0, bytes: 0, hash: createHash("sha256"), pending: [], pendingBytes: 0 };
    if (this.#staged.documents.length >= FLUSH_FILES) await this.#flush();
  }

  /** Adds documents whose bytes the job has to fetch itself. */
  async addReferences(documents: readonly Omit<JobDocument, "ordinal" | "file">[]): Promise<void> {
    this.#endFile();
    for (const document of documents) {
      if (this.#ids.has(document.documentId)) continue;
      this.#staged.documents.push({ ...document, ordinal: this.#ids.size });
      this.#ids.add(document.documentId);
    }
    await this.#flush();
  }

  /** Adds bytes to the file begun last. */
  async addBytes(bytes: Uint8Array): Promise<void> {
    const open = this.#open;
    if (open === undefined) throw invalidField("data", "comes before the first file; send its start message first");
    open.bytes += bytes.length;
    if (open.bytes > MAX_DOCUMENT_BYTES) {
      throw invalidField("data", `a file has at most ${MAX_DOCUMENT_BYTES} bytes (200 MiB); split it`, ErrorReason.DOCUMENT_TOO_LARGE);
    }
    open.hash.update(bytes);
    open.pending.push(bytes);
    open.pendingBytes += bytes.length;
    this.#heldBytes += bytes.length;
    if (open.pendingBytes >= PART_BYTES) this.#cutPart(open);
    if (this.#heldBytes >= FLUSH_BYTES) await this.#flush();
  }

  /** All files are there. Returns their number. */
  async end(): Promise<number> {
    this.#endFile();
    await this.#flush();
    return this.#ids.size;
  }

  #endFile(): void {
    const open = this.#open;
    if (open === undefined) return;
    if (open.pendingBytes > 0) this.#cutPart(open);
    this.#staged.hashes.push({ ordinal: open.ordinal, contentHash: open.hash.digest("hex") });
    this.#open = undefined;
  }

  #cutPart(open: OpenFile): void {
    const bytes = open.pending.length === 1 ? open.pending[0]! : Buffer.concat(open.pending);
    this.#staged.parts.push({ ordinal: open.ordinal, part: open.parts, bytes });
    open.parts += 1;
    open.pending = [];
    open.pendingBytes = 0;
  }

  async #flush(): Promise<void> {
    const staged = this.#staged;
    if (staged.documents.length + staged.parts.length + staged.hashes.length === 0) return;
    this.#staged = { documents: [], parts: [], hashes: [] };
    this.#heldBytes = this.#open?.pendingBytes ?? 0;
    try {
      await this.#store.stage(this.#jobId, staged, new Date(this.#clock.now() + STAGING_LEASE_MS));
    } catch (error) {
      throw error instanceof LeaseLostError ? uploadIncomplete(error) : error;
    }
  }
}

interface OpenFile {
  readonly ordinal: number;
  /** Written or held back so far. */
  parts: number;
  bytes: number;
  readonly hash: Hash;
  /** Bytes that make no part yet. */
  pending: Uint8Array[];
  pendingBytes: number;
}

type Staged = { -readonly [K in keyof StagedDocuments]: StagedDocuments[K][number][] };

export function uploadIncomplete(cause?: unknown) {
  return meshError(Code.Aborted, ErrorReason.UPLOAD_INCOMPLETE, "The upload was cut off; nothing of it was kept. Send it again.", { cause });
}
