import { readFile, writeFile } from "node:fs/promises";
import { fromJsonString, toJson } from "@bufbuild/protobuf";
import { SingleBar } from "cli-progress";
import { type RankingOptions, RankingOptionsSchema } from "../gen/ragents/rag/v1/ranking_pb.js";
import { parseEnv } from "../runtime/config.js";
import { modelsConfigSchema, openModels } from "../runtime/llm/models.js";
import type { Mesh } from "./connection.js";
import { evaluate as run } from "./evaluation/evaluate.js";
import { modelJudge } from "./evaluation/judge.js";
import { lexicalJudge } from "./evaluation/lexical-judge.js";
import { readQuestions } from "./evaluation/questions.js";
import { type EvaluationReport, readReport, summarise, toMarkdown } from "./evaluation/report.js";

export interface EvaluateOptions {
  collection: string;
  mode: string;
  topK: number;
  answers: boolean;
  ranking?: string;
  judge?: string;
  output?: string;
  baseline?: string;
  json?: boolean;
}

/** Asks the questions of a file, measures what comes back, prints the report and writes it as PREFIX.json and PREFIX.md. */
export async function evaluate({ rag }: Mesh, file: string, options: EvaluateOptions): Promise<void> {
  const { collection, mode, topK, answers } = options;
  const questions = readQuestions(await readText(file));
  const earlier = options.baseline === undefined ? undefined : readReport(await readText(options.baseline));
  const judge = judgeOf(options.judge);
  const ranking = options.ranking === undefined ? undefined : rankingOf(options.ranking);
  const bar = options.json === true ? undefined : new SingleBar({ format: "Evaluating {bar} {value}/{total} questions", hideCursor: true, stream: process.stderr });
  bar?.start(questions.length, 0);
  const results = await run(rag, questions, { collection, mode, topK, answers, judge, ...(ranking && { ranking }), onProgress: (done) => bar?.update(done) });
  bar?.stop();

  const date = new Date().toISOString();
  const given = ranking && toJson(RankingOptionsSchema, ranking);
  const report: EvaluationReport = { date, collection, mode, topK, judge: judge.name, options: given, summary: summarise(results), questions: results };
  const json = `${JSON.stringify(report, null, 2)}\n`;
  const markdown = toMarkdown(report, earlier);
  if (options.output !== undefined) {
    await writeFile(`${options.output}.json`, json);
    await writeFile(`${options.output}.md`, markdown);
  }
  process.stdout.write(options.json === true ? json : markdown);
}

/** The model that the variables name, or that is asked for; shared words where none is configured. */
function judgeOf(name: string | undefined) {
  if (name === lexicalJudge.name) return lexicalJudge;
  const model = openModels(parseEnv(process.env, modelsConfigSchema)).languageModel(name);
  return model === undefined ? lexicalJudge : modelJudge(model);
}

function rankingOf(json: string): RankingOptions {
  try {
    return fromJsonString(RankingOptionsSchema, json);
  } catch (error) {
    throw new Error(`--ranking cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function readText(file: string): Promise<string> {
  return readFile(file, "utf8").catch(() => {
    throw new Error(`${file} does not exist or cannot be read.`);
  });
}
