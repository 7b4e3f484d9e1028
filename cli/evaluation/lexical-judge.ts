import { Analyzer } from "../../runtime/terms/terms.js";
import { contextPrecision } from "./ranking-metrics.js";
import type { AnswerCase, AnswerScores, Judge } from "./judge.js";

const analyzer = new Analyzer("english");
/** Part of a reference's terms that a passage must have to count as relevant where no document was judged. */
const RELEVANT = 0.5;

/**
 * What stands in for a model's judgement where none is configured. All of it counts shared terms (stems without stop words), so
 * it can compare two runs of one collection, and says little in absolute terms:
 *
 * - faithfulness: mean over the answer's sentences of the part of their terms that one of the passages has
 * - answer relevance: part of the question's terms that the answer or what it quotes has
 * - context precision: RAGAS' formula; relevant is a passage of a judged document, else one with half of the reference's terms
 * - context recall: part of the reference's terms that the passages have
 */
export const lexicalJudge: Judge = {
  name: "lexical",
  async score({ question, answer, quotes, passages, reference, relevant }: AnswerCase): Promise<AnswerScores> {
    const contexts = passages.map(({ text }) => new Set(analyzer.terms(text)));
    const together = union(contexts);
    const wanted = reference === undefined ? undefined : new Set(analyzer.terms(reference));
    return {
      faithfulness: answer === undefined ? undefined : faithfulness(answer, contexts),
      answerRelevance: answer === undefined ? undefined : share(new Set(analyzer.terms(question)), new Set(analyzer.terms([answer, ...quotes].join("\n")))),
      contextPrecision: precision(passages.map(({ documentId }, i) => isRelevant(documentId, contexts[i]!, relevant, wanted))),
      contextRecall: wanted === undefined ? undefined : share(wanted, together),
    };
  },
};

function faithfulness(answer: string, contexts: readonly ReadonlySet<string>[]): number {
  const sentences = answer
    .replace(/\[\d+\]/g, "")
    .split(/(?<=[.!?])\s+|\n+/)
    .map((sentence) => new Set(analyzer.terms(sentence)))
    .filter((terms) => terms.size > 0);
  if (sentences.length === 0) return 0;
  return sentences.reduce((sum, terms) => sum + Math.max(0, ...contexts.map((context) => share(terms, context))), 0) / sentences.length;
}

function isRelevant(documentId: string, context: ReadonlySet<string>, relevant: AnswerCase["relevant"], wanted: ReadonlySet<string> | undefined) {
  if (relevant !== undefined) return relevant.has(documentId);
  return wanted === undefined ? undefined : share(wanted, context) >= RELEVANT;
}

function precision(relevant: readonly (boolean | undefined)[]): number | undefined {
  return relevant.includes(undefined) ? undefined : contextPrecision(relevant as boolean[]);
}

/** Part of the terms that is among the others; 1 when there are none. */
function share(terms: ReadonlySet<string>, among: ReadonlySet<string>): number {
  if (terms.size === 0) return 1;
  let found = 0;
  for (const term of terms) if (among.has(term)) found += 1;
  return found / terms.size;
}

function union(sets: readonly ReadonlySet<string>[]): Set<string> {
  return new Set(sets.flatMap((set) => [...set]));
}
