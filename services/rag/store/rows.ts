import type { JsonObject } from "@bufbuild/protobuf";
import type { CollectionRecord, DocumentFailure, DocumentRecord, JobPhase, JobRecord, JobState } from "./store.js";

export const COLLECTION_COLUMNS = `uid, tenant, id, chunk_unit, chunk_size, chunk_overlap, embedding_model, language, epoch, document_count,
  chunk_count, text_bytes, restricted_count, create_time, update_time`;

export interface CollectionRow {
  uid: number;
  tenant: string;
  id: string;
  chunk_unit: "characters" | "tokens";
  chunk_size: number;
  chunk_overlap: number;
  embedding_model: string;
  language: "english" | "none";
  epoch: number;
  document_count: number;
  chunk_count: number;
  text_bytes: number;
  restricted_count: number;
  create_time: Date;
  update_time: Date;
}

export function toCollection(row: CollectionRow): CollectionRecord {
  return {
    uid: row.uid,
    tenant: row.tenant,
    id: row.id,
    settings: {
      chunkUnit: row.chunk_unit,
      chunkSize: row.chunk_size,
      chunkOverlap: row.chunk_overlap,
      embeddingModel: row.embedding_model,
      language: row.language,
    },
    epoch: row.epoch,
    documentCount: row.document_count,
    chunkCount: row.chunk_count,
    textBytes: row.text_bytes,
    restrictedCount: row.restricted_count,
    createTime: row.create_time,
    updateTime: row.update_time,
  };
}

export const DOCUMENT_COLUMNS = `id, source, title, mime_type, metadata, readers, content_hash, size_bytes, chunk_count, create_time, update_time`;

export interface DocumentRow {
  id: string;
  source: string;
  title: string;
  mime_type: string;
  metadata: JsonObject;
  readers: string[];
  content_hash: string;
  size_bytes: number;
  chunk_count: number;
  create_time: Date;
  update_time: Date;
}

export function toDocument(row: DocumentRow): DocumentRecord {
  return {
    id: row.id,
    source: row.source,
    title: row.title,
    mimeType: row.mime_type,
    metadata: row.metadata,
    readers: row.readers,
    contentHash: row.content_hash,
    sizeBytes: row.size_bytes,
    chunkCount: row.chunk_count,
    createTime: row.create_time,
    updateTime: row.update_time,
  };
}

export const JOB_COLUMNS = `id, tenant, collection_id, state, phase, total_documents, done_documents, skipped_documents,
  failed_documents, ignored_files, removed_documents, chunks, target_model, total_chunks, total_bytes, done_bytes, failures, create_time, start_time, end_time`;

export interface JobRow {
  id: string;
  tenant: string;
  collection_id: string;
  state: JobState;
  phase: JobPhase;
  total_documents: number;
  done_documents: number;
  skipped_documents: number;
  failed_documents: number;
  ignored_files: number;
  removed_documents: number;
  chunks: number;
  target_model: string | null;
  total_chunks: number;
  total_bytes: number;
  done_bytes: number;
  failures: DocumentFailure[];
  create_time: Date;
  start_time: Date | null;
  end_time: Date | null;
}

export function toJob(row: JobRow): JobRecord {
  return {
    id: row.id,
    tenant: row.tenant,
    collection: row.collection_id,
    state: row.state,
    phase: row.phase,
    totalDocuments: row.total_documents,
    doneDocuments: row.done_documents,
    skippedDocuments: row.skipped_documents,
    failedDocuments: row.failed_documents,
    ignoredFiles: row.ignored_files,
    removedDocuments: row.removed_documents,
    chunks: row.chunks,
    targetModel: row.target_model ?? undefined,
    totalChunks: row.total_chunks,
    totalBytes: row.total_bytes,
    doneBytes: row.done_bytes,
    failures: row.failures,
    createTime: row.create_time,
    startTime: row.start_time ?? undefined,
    endTime: row.end_time ?? undefined,
  };
}
