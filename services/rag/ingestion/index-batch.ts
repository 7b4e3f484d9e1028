import { checkVectors, type Embedder } from "../../../runtime/embedding/embedder.js";
import type { Analyzer } from "../../../runtime/terms/terms.js";
import { buildSegment } from "../index/segment.js";
import { buildVectors } from "../index/vector-format.js";
import type { NewDocument, NewSegment } from "../store/store.js";
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
  { embedder, analyzer }: IndexingTools,
  signal: AbortSignal,
): Promise<{ documents: NewDocument[]; segment: NewSegment }> {
  const texts = documents.flatMap(({ chunks }) => chunks.map(({ text }) => text));
  const vectors = await embedder.embed(texts, signal);
  checkVectors(embedder, texts.length, vectors);

  const chunkTerms = [];
  for (const [i, text] of texts.entries()) {
    if (i % CHUNKS_BETWEEN_TURNS === CHUNKS_BETWEEN_TURNS - 1) await new Promise(setImmediate);
    chunkTerms.push({ chunkId: firstChunkId + i, terms: analyzer.terms(text) });
  }
  let next = 0;
  const indexed = documents.map((document) => {
    const first = next;
    next += document.chunks.length;
    const rows = vectors.slice(first, next).map((vector, i) => ({ chunkId: firstChunkId + first + i, vector }));
    return { ...document, firstChunkId: firstChunkId + first, vectors: buildVectors(embedder.dimension, rows) };
  });
  const segment = { level: 0, runs: [{ first: firstChunkId, count: texts.length }], bytes: buildSegment(chunkTerms) };
  return { documents: indexed, segment };
}
