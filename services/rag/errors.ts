import { Code, type ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { EmbeddingError } from "../../runtime/embedding/embedder.js";
import { invalidField, meshError } from "../../runtime/errors.js";

export function collectionNotFound(id: string): ConnectError {
  return meshError(Code.NotFound, ErrorReason.COLLECTION_NOT_FOUND, `There is no collection ${JSON.stringify(id)}; create it first.`, {
    metadata: { collection: id },
  });
}

export function collectionExists(id: string): ConnectError {
  return meshError(Code.AlreadyExists, ErrorReason.COLLECTION_EXISTS, `The collection ${JSON.stringify(id)} exists already.`, {
    metadata: { collection: id },
  });
}

export function collectionProtected(id: string): ConnectError {
  return meshError(
    Code.FailedPrecondition,
    ErrorReason.COLLECTION_PROTECTED,
    `The collection ${JSON.stringify(id)} is always there; delete its documents instead.`,
    { metadata: { collection: id } },
  );
}

export function documentNotFound(id: string): ConnectError {
  return meshError(Code.NotFound, ErrorReason.DOCUMENT_NOT_FOUND, `There is no document ${JSON.stringify(id)} in the collection.`, {
    metadata: { document: id },
  });
}

export function jobNotFound(id: string): ConnectError {
  return meshError(Code.NotFound, ErrorReason.JOB_NOT_FOUND, `There is no job ${JSON.stringify(id)}.`, { metadata: { job: id } });
}

export function jobEnded(id: string, state: string): ConnectError {
  return meshError(Code.FailedPrecondition, ErrorReason.JOB_ENDED, `The job ended as ${state}; there is nothing to cancel.`, {
    metadata: { job: id, state },
  });
}

export function duplicateDocument(field: string, id: string): ConnectError {
  return invalidField(field, `the id ${JSON.stringify(id)} is given twice; ids are unique`, ErrorReason.DUPLICATE_DOCUMENT);
}

export function sameEmbeddingModel(collection: string, model: string): ConnectError {
  return invalidField(
    "embedding_model",
    `the collection ${JSON.stringify(collection)} has the model ${JSON.stringify(model)}; name another`,
    ErrorReason.SAME_EMBEDDING_MODEL,
  );
}

export function reembeddingRunning(collection: string): ConnectError {
  return meshError(
    Code.FailedPrecondition,
    ErrorReason.REEMBEDDING_RUNNING,
    `The collection ${JSON.stringify(collection)} is being re-embedded already; wait for that job, or cancel it.`,
    { metadata: { collection } },
  );
}

/** What EmbeddingError says is for callers; whatever else went wrong is for the log. */
export function embeddingModelFails(model: string, cause: unknown): ConnectError {
  const why = cause instanceof EmbeddingError ? cause.message : "It cannot be reached; the service's log has the cause.";
  return meshError(
    Code.FailedPrecondition,
    ErrorReason.EMBEDDING_FAILED,
    `The embedding model ${JSON.stringify(model)} does not work. ${why}`,
    { metadata: { model }, cause },
  );
}

export function unknownEmbeddingModel(name: string, known: readonly string[], field = "settings.embedding_model"): ConnectError {
  return invalidField(
    field,
    `there is no model ${JSON.stringify(name)}; known: ${known.join(", ")}. \`ragents models pull\` and RAGENTS_EMBEDDING_URL add others`,
    ErrorReason.UNKNOWN_EMBEDDING_MODEL,
  );
}

/** The database cannot be reached, or has no connection free. */
export function storeUnavailable(cause: unknown): ConnectError {
  return meshError(Code.Unavailable, ErrorReason.DEPENDENCY_UNAVAILABLE, "The rag service's store cannot be reached; try again.", {
    cause,
    retryAfterMs: 1_000,
  });
}
