import { loadStaticEmbedder } from "../../../runtime/embedding/static-embedder.js";
import { rankSentences } from "../../../runtime/llm/extractive/ranking.js";
import { Analyzer } from "../../../runtime/terms/terms.js";
import type { RerankPassage, Reranker } from "./reranker.js";

export const BUILTIN_RERANKER = "builtin";

/**
 * What speaks for a passage besides the search's score. Chosen on the judged collection, where nDCG@10 rose from .853 to .861, in
 * each half of the questions; larger weights lose what the search knows.
 */
const SENTENCE_WEIGHT = 0.15;
const HEADINGS_WEIGHT = 0.1;
const LAST_HEADING_WEIGHT = 0.1;

const analyzer = new Analyzer("english");

/**
 * Adds to the search's score how well the passage's best sentence answers, by words and meaning, how near its headings are to the
 * question, and how much of its innermost heading the question says. Milliseconds for 50 passages, in this process.
 */
export const builtinReranker: Reranker = {
  name: BUILTIN_RERANKER,
  async rerank(query, passages) {
    const embedder = await loadStaticEmbedder();
    const { question, candidates } = rankSentences(query, passages.map(toPassage), embedder);
    const sentence = new Float64Array(passages.length);
    for (const { rank, score } of candidates) sentence[rank] = Math.max(sentence[rank]!, score);
    return passages.map(({ score, headings }, i) => {
      const near = Math.max(0, dot(question.vector, embedder.embedText(headings.join("\n"))));
      const innermost = new Set(analyzer.terms(headings.at(-1) ?? ""));
      const said = innermost.size === 0 ? 0 : [...innermost].filter((term) => question.weights.has(term)).length / innermost.size;
      return score + SENTENCE_WEIGHT * sentence[i]! + HEADINGS_WEIGHT * near + LAST_HEADING_WEIGHT * said;
    });
  },
};

function toPassage({ text, headings, score }: RerankPassage, i: number) {
  return { documentId: String(i), chunkId: String(i), source: "", headings, start: 0, text, score };
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i]! * b[i]!;
  return sum;
}
