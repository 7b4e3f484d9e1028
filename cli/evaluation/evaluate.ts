import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { AnswerResponse, RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import type { RankingOptionsSchema } from "../../gen/ragents/rag/v1/ranking_pb.js";
import type { AnswerScores, Judge } from "./judge.js";
import type { EvaluationQuestion } from "./questions.js";
import { distinct, ndcg, recall, reciprocalRank } from "./ranking-metrics.js";

export interface EvaluationOptions {
  readonly collection: string;
  /** "hybrid", "semantic" or "keyword". */
  readonly mode: string;
  /** Passages that an answer is given, and that are judged. */
  readonly topK: number;
  /** Whether answers are asked for too. */
  readonly answers: boolean;
  readonly judge: Judge;
  /** How passages are put in order and chosen; the service's defaults when absent. */
  readonly ranking?: MessageInitShape<typeof RankingOptionsSchema>;
  /** Questions asked at once. */
  readonly concurrency?: number;
  readonly onProgress?: (done: number) => void;
}

/** What one question came to; undefined where it cannot be told. */
export interface QuestionResult extends AnswerScores {
  readonly id: string;
  readonly question: string;
  /** The documents found, the best first, each once. */
  readonly found: readonly string[];
  readonly ndcg10: number | undefined;
  readonly recall5: number | undefined;
  readonly recall10: number | undefined;
  readonly mrr: number | undefined;
  readonly answer: string | undefined;
  /** Of a question that the documents answer: it was answered, with a citation. Of another: it was not. */
  readonly decided: number | undefined;
  /** The answer has what a right one must have. */
  readonly correct: number | undefined;
  /** It cites a judged document. */
  readonly cited: number | undefined;
}

/** Passages read to find ten documents. */
const RANKING_DEPTH = 50;
const DEFAULT_CONCURRENCY = 4;

/** Asks all questions and measures what comes back; results in the order of the questions. Rejects with the first call that fails. */
export async function evaluate(
  rag: Pick<Client<typeof RagService>, "retrieve" | "answer">,
  questions: readonly EvaluationQuestion[],
  options: EvaluationOptions,
): Promise<QuestionResult[]> {
  const results = new Array<QuestionResult>(questions.length);
  let next = 0;
  let done = 0;
  const worker = async () => {
    for (let i = next++; i < questions.length; i = next++) {
      results[i] = await evaluateOne(rag, questions[i]!, options);
      options.onProgress?.(++done);
    }
  };
  await Promise.all(Array.from({ length: options.concurrency ?? DEFAULT_CONCURRENCY }, worker));
  return results;
}

async function evaluateOne(
  rag: Pick<Client<typeof RagService>, "retrieve" | "answer">,
  { id, question, relevant, reference, contains }: EvaluationQuestion,
  { collection, mode, topK, answers, judge, ranking }: EvaluationOptions,
): Promise<QuestionResult> {
  const request = { collection, mode, query: question, ...(ranking !== undefined && { ranking }) };
  const [{ hits }, answered] = await Promise.all([
    rag.retrieve({ ...request, topK: RANKING_DEPTH }),
    answers ? rag.answer({ ...request, topK }) : undefined,
  ]);
  const found = distinct(hits.map(({ documentId }) => documentId));
  // A ranking without a relevant document cannot be better or worse.
  const gains = relevant === undefined || relevant.size === 0 ? undefined : relevant;
  const scores = await judge.score({
    question,
    answer: answered === undefined || answered.citations.length === 0 ? undefined : answered.answer,
    quotes: answered?.citations.map(({ quote }) => quote) ?? [],
    passages: relevant?.size === 0 ? [] : hits.slice(0, topK).map(({ documentId, text }) => ({ documentId, text })),
    reference,
    relevant,
  });
  return {
    id,
    question,
    found: found.slice(0, 10),
    ndcg10: gains && ndcg(found, gains, 10),
    recall5: gains && recall(found, gains, 5),
    recall10: gains && recall(found, gains, 10),
    mrr: gains && reciprocalRank(found, gains),
    ...scores,
    ...(relevant?.size === 0 && { contextPrecision: undefined, contextRecall: undefined }),
    answer: answered?.answer,
    decided: answered && relevant && Number((answered.citations.length > 0) === relevant.size > 0),
    correct: answered && contains && Number(holds(answered, contains)),
    cited: answered && gains && Number(answered.citations.some(({ documentId }) => gains.has(documentId))),
  };
}

function holds({ answer, citations }: AnswerResponse, contains: readonly string[]): boolean {
  const text = answer.toLowerCase();
  return citations.length > 0 && contains.some((one) => text.includes(one.toLowerCase()));
}
