import { setImmediate } from "node:timers/promises";
import { checkVectors, type Embedder } from "../../../runtime/embedding/embedder.js";
import type { Analyzer } from "../../../runtime/terms/terms.js";
import { buildSegment } from "../index/segment.js";
import { buildVectors, type ChunkVector } from "../index/vector-format.js";
import type { NewChunk, NewDocument, NewSegment } from "../store/store.js";
import type { CutDocument } from "./prepare-document.js";

/** Chunks between two turns of the event loop while terms are read: a few milliseconds. */
const CHUNKS_BETWEEN_TURNS = 64;

export interface IndexingTools {
  readonly embedder: Embedder;
  readonly analyzer: Analyzer;
}

/** Embeds and indexes documents whose chunks get consecutive ids from `firstChunkId` on. */
export async function indexDocuments(
  documents: readonly CutDocument[],
  firstChunkId: number,
  tools: IndexingTools,
  signal: AbortSignal,
): Promise<{ documents: NewDocument[]; segment: NewSegment }> {
  const chunks = documents.flatMap((document) => document.chunks);
  const vectors = await embed(chunks, firstChunkId, tools, signal);
  let next = 0;
  const indexed = documents.map((document) => {
    const first = next;
    next += document.chunks.length;
    return { ...document, firstChunkId: firstChunkId + first, vectors: buildVectors(tools.embedder.dimension, vectors.slice(first, next)) };
  });
  return { documents: indexed, segment: await index(chunks, firstChunkId, tools, signal) };
}

/** Embeds and indexes chunks that get consecutive ids from `firstChunkId` on. */
export async function indexChunks(
  chunks: readonly NewChunk[],
  firstChunkId: number,
  tools: IndexingTools,
  signal: AbortSignal,
): Promise<{ vectors: Uint8Array; segment: NewSegment }> {
  const vectors = buildVectors(tools.embedder.dimension, await embed(chunks, firstChunkId, tools, signal));
  return { vectors, segment: await index(chunks, firstChunkId, tools, signal) };
}

async function embed(chunks: readonly NewChunk[], firstChunkId: number, { embedder }: IndexingTools, signal: AbortSignal): Promise<ChunkVector[]> {
  const vectors = await embedder.embed(
    chunks.map(({ text }) => text),
    signal,
  );
  checkVectors(embedder, chunks.length, vectors);
  return vectors.map((vector, i) => ({ chunkId: firstChunkId + i, vector }));
}

async function index(chunks: readonly NewChunk[], firstChunkId: number, { analyzer }: IndexingTools, signal: AbortSignal): Promise<NewSegment> {
  const chunkTerms = [];
  for (const [i, { text }] of chunks.entries()) {
    if (i % CHUNKS_BETWEEN_TURNS === 0) {
      await setImmediate();
      signal.throwIfAborted();
    }
    chunkTerms.push({ chunkId: firstChunkId + i, terms: analyzer.terms(text) });
  }
  return { level: 0, runs: [{ first: firstChunkId, count: chunks.length }], bytes: buildSegment(chunkTerms) };
}
