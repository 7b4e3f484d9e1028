import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { RagClient } from "../clients/rag/index.js";
import { type EvaluationQuestion, readQuestions } from "../cli/evaluation/questions.js";
import { type CollectionSettings, JobState } from "../gen/ragents/rag/v1/rag_pb.js";
import { packageRoot } from "../runtime/package-root.js";

/** A document of bench/data. */
export interface JudgedDocument {
  readonly id: string;
  readonly mime_type: string;
  readonly text: string;
}

const folder = join(packageRoot, "bench", "data");
/** Documents of a call: a message holds at most 4 MB. */
const BATCH = 100;

/** The judged collection: 373 pages of a manual. */
export function judgedDocuments(): JudgedDocument[] {
  return readFileSync(join(folder, "documents.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line) as JudgedDocument);
}

/** Its questions, answerable or not. */
export function judgedQuestions(): EvaluationQuestion[] {
  return readQuestions(readFileSync(join(folder, "questions.jsonl"), "utf8"));
}

/** Makes a collection of the judged documents and waits until they can be searched. */
export async function ingestJudged(rag: RagClient, collection: string, settings: Partial<Pick<CollectionSettings, "embeddingModel">> = {}): Promise<void> {
  await rag.createCollection({ id: collection, settings });
  const documents = judgedDocuments();
  for (let at = 0; at < documents.length; at += BATCH) {
    const batch = documents.slice(at, at + BATCH).map(({ id, mime_type: mimeType, text }) => ({ id, mimeType, text }));
    const { job } = await rag.ingestDocuments({ collection, documents: batch });
    let last = job;
    for await (const update of rag.watchJob({ job: job!.id }, { timeoutMs: 600_000 })) last = update.job;
    if (last?.state !== JobState.SUCCEEDED || last.failedDocuments > 0n) throw new Error(`the judged collection was not ingested: ${JSON.stringify(last?.failures)}`);
  }
}
