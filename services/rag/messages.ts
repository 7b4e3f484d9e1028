import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type CollectionSchema,
  type CollectionSettings as CollectionSettingsMessage,
  type DocumentSchema,
  type HitSchema,
  JobPhase,
  type JobSchema,
  JobState,
} from "../../gen/ragents/rag/v1/rag_pb.js";
import type { ScoreExplanationSchema } from "../../gen/ragents/rag/v1/ranking_pb.js";
import type { RetrievedChunk } from "./retrieval/retriever.js";
import type { CollectionRecord, CollectionSettings, DocumentRecord, JobRecord } from "./store/store.js";

export function toCollectionMessage(collection: CollectionRecord): MessageInitShape<typeof CollectionSchema> {
  return {
    id: collection.id,
    settings: collection.settings,
    epoch: BigInt(collection.epoch),
    documentCount: BigInt(collection.documentCount),
    chunkCount: BigInt(collection.chunkCount),
    textBytes: BigInt(collection.textBytes),
    restrictedDocumentCount: BigInt(collection.restrictedCount),
    createTime: timestampFromDate(collection.createTime),
    updateTime: timestampFromDate(collection.updateTime),
  };
}

/** What a caller set; the schema has checked it. */
export function fromSettingsMessage(settings: CollectionSettingsMessage | undefined): Partial<CollectionSettings> {
  return {
    ...(settings?.chunkUnit !== undefined && { chunkUnit: settings.chunkUnit === "tokens" ? "tokens" : "characters" }),
    ...(settings?.chunkSize !== undefined && { chunkSize: settings.chunkSize }),
    ...(settings?.chunkOverlap !== undefined && { chunkOverlap: settings.chunkOverlap }),
    ...(settings?.embeddingModel !== undefined && { embeddingModel: settings.embeddingModel }),
    ...(settings?.language !== undefined && { language: settings.language === "none" ? "none" : "english" }),
  };
}

export function toDocumentMessage(document: DocumentRecord, collection: string): MessageInitShape<typeof DocumentSchema> {
  return {
    ...document,
    readers: [...document.readers],
    collection,
    sizeBytes: BigInt(document.sizeBytes),
    createTime: timestampFromDate(document.createTime),
    updateTime: timestampFromDate(document.updateTime),
  };
}

export function toJobMessage(job: JobRecord, phase: JobRecord["phase"] = job.phase): MessageInitShape<typeof JobSchema> {
  return {
    id: job.id,
    collection: job.collection,
    state: job.state === "STAGING" ? JobState.UNSPECIFIED : JobState[job.state],
    phase: phase === "NONE" ? JobPhase.UNSPECIFIED : JobPhase[phase],
    totalDocuments: BigInt(job.totalDocuments),
    doneDocuments: BigInt(job.doneDocuments),
    skippedDocuments: BigInt(job.skippedDocuments),
    failedDocuments: BigInt(job.failedDocuments),
    ignoredFiles: BigInt(job.ignoredFiles),
    removedDocuments: BigInt(job.removedDocuments),
    chunks: BigInt(job.chunks),
    ...(job.targetModel !== undefined && { embeddingModel: job.targetModel }),
    totalChunks: BigInt(job.totalChunks),
    totalBytes: BigInt(job.totalBytes),
    doneBytes: BigInt(job.doneBytes),
    failures: [...job.failures],
    createTime: timestampFromDate(job.createTime),
    ...(job.startTime !== undefined && { startTime: timestampFromDate(job.startTime) }),
    ...(job.endTime !== undefined && { endTime: timestampFromDate(job.endTime) }),
  };
}

/** "<document>#<number of the chunk in the document>". */
export function chunkIdOf({ document, ordinal }: RetrievedChunk): string {
  return `${document.id}#${ordinal}`;
}

export function toHitMessage(chunk: RetrievedChunk, explain: boolean): MessageInitShape<typeof HitSchema> {
  const { document, score, text, start, end, headingPath, page } = chunk;
  return {
    documentId: document.id,
    chunkId: chunkIdOf(chunk),
    score,
    text,
    start,
    end,
    metadata: document.metadata,
    source: document.source,
    title: document.title,
    headingPath: [...headingPath],
    ...(page !== undefined && { page }),
    ...(explain && { explanation: toExplanation(chunk) }),
  };
}

function toExplanation({ found: { hit, rank }, rerankScore }: RetrievedChunk): MessageInitShape<typeof ScoreExplanationSchema> {
  const { bm25, cosine, ranks, score } = hit;
  return {
    ...(ranks.bm25 !== undefined && { keywordRank: ranks.bm25 }),
    keywordScore: bm25,
    ...(ranks.cosine !== undefined && { semanticRank: ranks.cosine }),
    ...(cosine !== undefined && { semanticScore: cosine }),
    fusedScore: score,
    fusedRank: rank,
    ...(rerankScore !== undefined && { rerankScore }),
  };
}
