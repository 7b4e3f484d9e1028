import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import { EmbeddingError } from "../../../runtime/embedding/embedder.js";
import { reasonName } from "../../../runtime/errors.js";
import { ExtractionError } from "../extraction/extracted.js";
import type { DocumentFailure } from "../store/store.js";

/** One document cannot be ingested, however often it is tried; the rest of its job goes on. The message is shown to the caller. */
export class DocumentError extends Error {
  override name = "DocumentError";
  readonly reason: ErrorReason;

  constructor(reason: ErrorReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** What a job tells of a document that failed; undefined for an error that is no fault of the document's. */
export function failureOf(documentId: string, error: unknown): DocumentFailure | undefined {
  if (error instanceof DocumentError) return { documentId, reason: reasonName(error.reason), message: error.message };
  if (error instanceof EmbeddingError) return { documentId, reason: reasonName(ErrorReason.EMBEDDING_FAILED), message: error.message };
  if (!(error instanceof ExtractionError)) return undefined;
  const reason = error.kind === "TOO_LARGE" ? ErrorReason.DOCUMENT_TOO_LARGE : ErrorReason.UNREADABLE_DOCUMENT;
  return { documentId, reason: reasonName(reason), message: error.message };
}
