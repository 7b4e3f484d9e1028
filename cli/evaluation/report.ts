import { z } from "zod";
import type { QuestionResult } from "./evaluate.js";

/** The metrics of a report in their order, with what they are called. */
export const METRICS = {
  ndcg10: "nDCG@10",
  recall5: "recall@5",
  recall10: "recall@10",
  mrr: "MRR",
  contextPrecision: "context precision",
  contextRecall: "context recall",
  faithfulness: "faithfulness",
  answerRelevance: "answer relevance",
  decided: "answered or declined rightly",
  correct: "answer right",
  cited: "right document cited",
} as const;
export type Metric = keyof typeof METRICS;
const metricNames = Object.keys(METRICS) as Metric[];

/** A run as it is written. */
export interface EvaluationReport {
  readonly date: string;
  readonly collection: string;
  readonly mode: string;
  readonly topK: number;
  /** Who judged the answers: a model's name, or "lexical". */
  readonly judge: string;
  /** The options of retrieval, as they were given. */
  readonly options: unknown;
  /** Mean of each metric over the questions that have it, and how many have it. */
  readonly summary: Partial<Record<Metric, { mean: number; questions: number }>>;
  readonly questions: readonly QuestionResult[];
}

/** The means of a run's metrics; those that no question has are left out. */
export function summarise(results: readonly QuestionResult[]): EvaluationReport["summary"] {
  const summary: EvaluationReport["summary"] = {};
  for (const metric of metricNames) {
    const values = results.flatMap((result) => result[metric] ?? []);
    if (values.length > 0) summary[metric] = { mean: values.reduce((a, b) => a + b, 0) / values.length, questions: values.length };
  }
  return summary;
}

const earlierSchema = z.object({
  date: z.string(),
  summary: z.partialRecord(z.enum(metricNames), z.object({ mean: z.number(), questions: z.number() })),
  questions: z.array(z.object({ id: z.string(), ndcg10: z.number().optional() })),
});
export type EarlierReport = z.infer<typeof earlierSchema>;

/** Reads a report written before. Throws an Error when it is none. */
export function readReport(text: string): EarlierReport {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("The earlier report is not JSON.");
  }
  const parsed = earlierSchema.safeParse(value);
  if (!parsed.success) throw new Error(`The earlier report cannot be read: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** Questions named of those whose ranking changed. */
const SHOWN_CHANGES = 10;

/** The report for people, compared with an earlier one if there is one. */
export function toMarkdown(report: EvaluationReport, earlier?: EarlierReport): string {
  const { collection, mode, topK, judge, date, summary, questions, options } = report;
  const lines = [
    `# Evaluation of ${collection}`,
    "",
    `${questions.length} questions, ${mode} search, ${topK} passages an answer, judged by ${judge === "lexical" ? "shared words (no model is configured)" : judge}; ${date}.`,
    ...(options === undefined ? [] : ["", `Options: \`${JSON.stringify(options)}\``]),
    "",
    earlier === undefined ? "| metric | mean | questions |" : "| metric | mean | before | difference | questions |",
    earlier === undefined ? "|---|---:|---:|" : "|---|---:|---:|---:|---:|",
  ];
  for (const metric of metricNames) {
    const now = summary[metric];
    if (now === undefined) continue;
    const before = earlier?.summary[metric];
    const compared = earlier === undefined ? [] : [before?.mean.toFixed(3) ?? "", before === undefined ? "" : signed(now.mean - before.mean)];
    lines.push(`| ${[METRICS[metric], now.mean.toFixed(3), ...compared, String(now.questions)].join(" | ")} |`);
  }
  if (earlier !== undefined) lines.push("", ...changes(questions, earlier));
  return `${lines.join("\n")}\n`;
}

function changes(questions: readonly QuestionResult[], earlier: EarlierReport): string[] {
  const before = new Map(earlier.questions.map(({ id, ndcg10 }) => [id, ndcg10]));
  const changed = questions
    .flatMap(({ id, question, ndcg10 }) => {
      const was = before.get(id);
      return ndcg10 === undefined || was === undefined || ndcg10 === was ? [] : [{ question, was, ndcg10 }];
    })
    .sort((a, b) => Math.abs(b.ndcg10 - b.was) - Math.abs(a.ndcg10 - a.was));
  const better = changed.filter(({ ndcg10, was }) => ndcg10 > was).length;
  return [
    `Compared with ${earlier.date}: nDCG@10 rose for ${better} questions and fell for ${changed.length - better}.`,
    ...(changed.length === 0 ? [] : ["", "| question | nDCG@10 before | now |", "|---|---:|---:|"]),
    ...changed.slice(0, SHOWN_CHANGES).map(({ question, was, ndcg10 }) => `| ${question.replace(/[|\n]/g, " ")} | ${was.toFixed(3)} | ${ndcg10.toFixed(3)} |`),
  ];
}

function signed(value: number): string {
  return `${value >= 0 ? "+" : ""}${value.toFixed(3)}`;
}
