import type { MessageInitShape } from "@bufbuild/protobuf";
import type { AnswerResponseSchema } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import type { Viewer } from "../../runtime/identity/viewer.js";
import type { Passage } from "../../runtime/llm/answerer.js";
import { EXTRACTIVE_MODEL, NOT_ANSWERED } from "../../runtime/llm/extractive/extractive-answerer.js";
import type { Models } from "../../runtime/llm/models.js";
import { toTokenUsage } from "../../runtime/llm/token-usage.js";
import { chunkIdOf } from "./messages.js";
import { headingsOf } from "./ranking/headings.js";
import type { Question, RetrievedChunk, Retriever } from "./retrieval/retriever.js";
import type { CollectionRecord } from "./store/store.js";

/** A question of its own leaves no room for invention. */
const TEMPERATURE = 0;
const MAX_TOKENS = 2_000;

/** Answers single questions from a collection. */
export class Answers {
  readonly #retriever: Retriever;
  readonly #models: Models;

  constructor(retriever: Retriever, models: Models) {
    this.#retriever = retriever;
    this.#models = models;
  }

  /** The answer of the default model, in words that cite the passages it was given. */
  async answer(
    collection: CollectionRecord,
    viewer: Viewer,
    question: Question,
    signal: AbortSignal,
  ): Promise<MessageInitShape<typeof AnswerResponseSchema>> {
    const { chunks } = await this.#retriever.retrieve(collection, viewer, question, signal);
    // Nothing to answer from: no model could do better.
    if (chunks.length === 0) return { answer: NOT_ANSWERED, model: EXTRACTIVE_MODEL, usage: {} };
    const answerer = this.#models.answerer();
    const { text, citations, usage, model } = await answerer.answer({
      question: question.query,
      passages: chunks.map(toPassage),
      temperature: TEMPERATURE,
      maxTokens: MAX_TOKENS,
      signal,
    });
    return {
      answer: text,
      citations: [...citations],
      model,
      usage: toTokenUsage(usage),
    };
  }
}

function toPassage(chunk: RetrievedChunk): Passage {
  const { document, start, text, page, score } = chunk;
  return {
    documentId: document.id,
    chunkId: chunkIdOf(chunk),
    source: document.source,
    headings: headingsOf(chunk),
    start,
    text,
    ...(page !== undefined && { page }),
    score,
  };
}
