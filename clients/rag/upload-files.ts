import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { Job } from "../../gen/ragents/rag/v1/rag_pb.js";
import type { RagService, UploadDocumentsRequestSchema } from "../../gen/ragents/rag/v1/rag_service_pb.js";

/** A file to upload. */
export interface UploadSource {
  /** The document's id: mostly the path below the folder that is uploaded. */
  documentId: string;
  /** Found from the id's extension and the bytes when absent. */
  mimeType?: string;
  /** Metadata to filter by. */
  metadata?: JsonObject;
  /** Who may read it, such as "user:ada" or "role:writer"; the upload's when absent. */
  readers?: string[];
  /** All of it, or a stream of it that is opened when its turn comes. */
  content: Uint8Array | (() => AsyncIterable<Uint8Array>);
}

export interface UploadOptions {
  collection: string;
  /** A repeated upload with the same key within a day answers the first one's job. */
  idempotencyKey?: string;
  /** Metadata given to every file. */
  metadata?: JsonObject;
  /** Who may read the files; everyone of the tenant when absent. */
  readers?: string[];
  /** Documents whose ids begin with this and are not in the upload are removed: mostly the folder's name and "/". */
  syncPrefix?: string;
  /** Called as bytes are handed to the connection, with their number so far. */
  onProgress?: (sentBytes: number) => void;
  signal?: AbortSignal;
  /** For the whole upload, in milliseconds. Default one hour. */
  timeoutMs?: number;
}

/** The most bytes that one message may carry. */
const MESSAGE_BYTES = 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 3_600_000;

type UploadMessage = MessageInitShape<typeof UploadDocumentsRequestSchema>;

/** Uploads files at the connection's pace, one after another, and resolves to the job that ingests them. */
export async function uploadFiles(
  client: Pick<Client<typeof RagService>, "uploadDocuments">,
  files: Iterable<UploadSource> | AsyncIterable<UploadSource>,
  { signal, timeoutMs = DEFAULT_TIMEOUT_MS, ...options }: UploadOptions,
): Promise<Job> {
  const { job } = await client.uploadDocuments(messages(files, options), { timeoutMs, ...(signal && { signal }) });
  if (job === undefined) throw new ConnectError("the service answered without a job", Code.Internal);
  return job;
}

async function* messages(
  files: Iterable<UploadSource> | AsyncIterable<UploadSource>,
  { collection, idempotencyKey = "", metadata, readers = [], syncPrefix = "", onProgress }: Omit<UploadOptions, "signal" | "timeoutMs">,
): AsyncGenerator<UploadMessage> {
  let sent = 0;
  yield { part: { case: "header", value: { collection, idempotencyKey, readers, syncPrefix, ...(metadata && { metadata }) } } };
  for await (const { documentId, mimeType = "", metadata: own, readers: ownReaders = [], content } of files) {
    yield { part: { case: "file", value: { documentId, mimeType, readers: ownReaders, ...(own && { metadata: own }) } } };
    for await (const bytes of typeof content === "function" ? content() : [content]) {
      for (let at = 0; at < bytes.length; at += MESSAGE_BYTES) {
        const value = bytes.subarray(at, at + MESSAGE_BYTES);
        yield { part: { case: "data", value } };
        sent += value.length;
        onProgress?.(sent);
      }
    }
  }
  yield { part: { case: "end", value: {} } };
}
