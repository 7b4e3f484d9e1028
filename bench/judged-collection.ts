import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type RagClient, uploadFiles } from "../clients/rag/index.js";
import { type EvaluationQuestion, readQuestions } from "../cli/evaluation/questions.js";
import { packageRoot } from "../runtime/package-root.js";
import { untilSearchable } from "./rag/service.js";

/** A document of bench/data. */
export interface JudgedDocument {
  readonly id: string;
  readonly mime_type: string;
  readonly text: string;
}

const folder = join(packageRoot, "bench", "data");

/** The judged collection: 373 pages of a manual. */
export function judgedDocuments(): JudgedDocument[] {
  return readFileSync(join(folder, "documents.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line) as JudgedDocument);
}

/** Its questions, answerable or not. */
export function judgedQuestions(): EvaluationQuestion[] {
  return readQuestions(readFileSync(join(folder, "questions.jsonl"), "utf8"));
}

/** Makes a collection of the judged documents, and resolves when they can be searched. */
export async function ingestJudged(rag: RagClient, collection: string, settings: { embeddingModel?: string } = {}): Promise<void> {
  await rag.createCollection({ id: collection, settings });
  const files = judgedDocuments().map(({ id, mime_type: mimeType, text }) => ({ documentId: id, mimeType, content: Buffer.from(text) }));
  await untilSearchable(rag, await uploadFiles(rag, files, { collection }));
}
