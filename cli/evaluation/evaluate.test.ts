import { create } from "@bufbuild/protobuf";
import { createClient, createRouterTransport } from "@connectrpc/connect";
import { AIMessageChunk } from "@langchain/core/messages";
import { describe, expect, test } from "vitest";
import { AnswerResponseSchema, RagService, RetrieveResponseSchema } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import type { LanguageModel } from "../../runtime/llm/language-model.js";
import { evaluate, type EvaluationOptions } from "./evaluate.js";
import { modelJudge } from "./judge.js";
import { lexicalJudge } from "./lexical-judge.js";
import { readQuestions } from "./questions.js";
import { type EvaluationReport, readReport, summarise, toMarkdown } from "./report.js";

const PASSAGE = "The pump stops at 3 bar. It is blue.";

/** Finds the same for every question, and answers those about pumps. */
const rag = createClient(
  RagService,
  createRouterTransport(({ service }) => {
    service(RagService, {
      retrieve: () =>
        create(RetrieveResponseSchema, {
          hits: [
            { documentId: "other", text: "Gardens need rain." },
            { documentId: "pump", text: PASSAGE },
            { documentId: "pump", text: "More of the pump." },
          ],
        }),
      answer: ({ query }) =>
        create(
          AnswerResponseSchema,
          query.includes("pump")
            ? { answer: "The pump stops at 3 bar. [1]", citations: [{ index: 1, documentId: "pump", quote: "The pump stops at 3 bar." }] }
            : { answer: "The documents do not answer this question." },
        ),
    });
  }),
);

const options: EvaluationOptions = { collection: "c", mode: "hybrid", topK: 2, answers: true, judge: lexicalJudge };
const questions = readQuestions(
  [
    '{"id":"p","question":"When does the pump stop?","relevant":["pump"],"reference":"At 3 bar.","contains":["3 bar"]}',
    '{"id":"m","question":"Who painted the Mona Lisa?","relevant":[]}',
    '{"id":"g","question":"Do gardens need rain?","relevant":{"other":2},"contains":["rain"]}',
  ].join("\n"),
);

describe("evaluation", () => {
  test("measures ranking, passages and answers of each question", async () => {
    const [pump, monaLisa, garden] = await evaluate(rag, questions, options);
    expect(pump).toMatchObject({ found: ["other", "pump"], recall5: 1, mrr: 0.5, contextPrecision: 0.5, contextRecall: 1, faithfulness: 1, decided: 1, correct: 1, cited: 1 });
    expect(pump!.ndcg10).toBeCloseTo(1 / Math.log2(3), 12);
    expect(monaLisa).toMatchObject({ ndcg10: undefined, contextPrecision: undefined, decided: 1, correct: undefined });
    expect(garden).toMatchObject({ ndcg10: 1, decided: 0, correct: 0, cited: 0 });
  });

  test("asks for no answers when told so", async () => {
    const [pump] = await evaluate(rag, questions, { ...options, answers: false });
    expect(pump).toMatchObject({ mrr: 0.5, answer: undefined, faithfulness: undefined, correct: undefined, contextPrecision: 0.5 });
  });

  test("an answer that says what no passage says is not faithful", async () => {
    const passages = [{ documentId: "pump", text: PASSAGE }];
    const judged = { question: "When does the pump stop?", quotes: [], passages, reference: undefined, relevant: undefined };
    const { faithfulness } = await lexicalJudge.score({ ...judged, answer: "The pump stops at 3 bar. Elephants sleep standing." });
    expect(faithfulness).toBe(0.5);
  });

  test("is judged by a model where there is one, and by nobody when the model says nothing of use", async () => {
    const verdict = `Here you are: {"claims":4,"supported":3,"relevance":0.9,"relevant_passages":[2],"reference_claims":2,"reference_supported":1}`;
    const [pump] = await evaluate(rag, questions, { ...options, judge: modelJudge(saying(verdict)) });
    expect(pump).toMatchObject({ faithfulness: 0.75, answerRelevance: 0.9, contextPrecision: 0.5, contextRecall: 0.5 });
    const [unjudged] = await evaluate(rag, questions, { ...options, judge: modelJudge(saying("I cannot tell.")) });
    expect(unjudged).toMatchObject({ faithfulness: undefined, contextRecall: undefined, mrr: 0.5 });
  });

  test("is reported with its means, compared with an earlier run", async () => {
    const results = await evaluate(rag, questions, options);
    const report: EvaluationReport = { date: "2026-02-02", collection: "c", mode: "hybrid", topK: 2, judge: "lexical", options: undefined, summary: summarise(results), questions: results };
    expect(report.summary.mrr).toEqual({ mean: 0.75, questions: 2 });
    expect(toMarkdown(report)).toContain("| MRR | 0.750 | 2 |");
    const earlier = { ...report, date: "2026-01-01", summary: { mrr: { mean: 0.5, questions: 2 } }, questions: [{ ...results[0]!, ndcg10: 0.1 }] };
    const compared = toMarkdown(report, readReport(JSON.stringify(earlier)));
    expect(compared).toContain("| MRR | 0.750 | 0.500 | +0.250 | 2 |");
    expect(compared).toContain("nDCG@10 rose for 1 questions and fell for 0");
    expect(compared).toContain("| When does the pump stop? | 0.100 | 0.631 |");
  });

  test.each([
    { text: "", message: "There are no questions" },
    { text: '{"question":"a"}\n{"question":', message: "Line 2 is not JSON" },
    { text: '{"question":""}', message: "Line 1: question" },
    { text: '{"question":"a","answer":"b"}', message: "Line 1" },
    { text: '{"question":"a","relevant":{"d":-1}}', message: "relevant.d" },
    { text: '{"id":"x","question":"a"}\n{"id":"x","question":"b"}', message: 'Line 2: the id "x" is taken' },
  ])("refuses $text: $message", ({ text, message }) => {
    expect(() => readQuestions(text)).toThrow(message);
  });

  test.each(["{", "[]", '{"date":1}'])("refuses %s as an earlier report", (text) => {
    expect(() => readReport(text)).toThrow("earlier report");
  });
});

function saying(text: string): LanguageModel {
  return {
    name: "scripted",
    async reply() {
      return { message: new AIMessageChunk(text), text, usage: { inputTokens: 1, outputTokens: 1 }, model: "scripted" };
    },
  };
}
