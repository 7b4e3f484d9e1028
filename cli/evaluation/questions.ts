import { z } from "zod";

/** A question with what is known of its answer. */
export interface EvaluationQuestion {
  readonly id: string;
  readonly question: string;
  /** Gain of each document that answers, by id; empty when none does; undefined when nobody has judged. */
  readonly relevant: ReadonlyMap<string, number> | undefined;
  /** A right answer in a sentence. */
  readonly reference: string | undefined;
  /** A right answer has one of these, whatever its case. */
  readonly contains: readonly string[] | undefined;
}

const line = z.strictObject({
  id: z.string().min(1).max(128).optional(),
  question: z.string().min(1).max(8192),
  relevant: z.union([z.array(z.string().min(1)), z.record(z.string(), z.number().positive())]).optional(),
  reference: z.string().min(1).optional(),
  contains: z.array(z.string().min(1)).min(1).optional(),
});

/** Reads JSON Lines, a question each. Throws an Error that names the line and the field that is wrong. */
export function readQuestions(text: string): EvaluationQuestion[] {
  const seen = new Set<string>();
  const questions = text.split("\n").flatMap((source, i): EvaluationQuestion[] => {
    if (source.trim() === "") return [];
    const { id = String(i + 1), question, relevant, reference, contains } = parseLine(source, i + 1);
    if (seen.has(id)) throw new Error(`Line ${i + 1}: the id ${JSON.stringify(id)} is taken by an earlier line.`);
    seen.add(id);
    return [{ id, question, relevant: relevant && gainsOf(relevant), reference, contains }];
  });
  if (questions.length === 0) throw new Error("There are no questions: give one JSON object a line, such as {\"question\": \"...\", \"relevant\": [\"document-id\"]}.");
  return questions;
}

function parseLine(source: string, number: number): z.infer<typeof line> {
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch {
    throw new Error(`Line ${number} is not JSON.`);
  }
  const parsed = line.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(({ path, message }) => `${path.join(".") || "the line"}: ${message}`);
  throw new Error(`Line ${number}: ${issues.join("; ")}.`);
}

function gainsOf(relevant: string[] | Record<string, number>): Map<string, number> {
  return Array.isArray(relevant) ? new Map(relevant.map((id) => [id, 1])) : new Map(Object.entries(relevant));
}
