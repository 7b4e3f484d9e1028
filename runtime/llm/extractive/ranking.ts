import type { StaticEmbedder } from "../../embedding/static-embedder.js";
import { Analyzer } from "../../terms/terms.js";
import type { Passage } from "../answerer.js";
import { readable } from "../readable.js";
import { type Sentence, splitSentences } from "../sentences.js";

/** A sentence that may answer, with what speaks for it. */
export interface Candidate {
  readonly passage: Passage;
  /** Its place among the passages, from 0. */
  readonly rank: number;
  /** Its place among the sentences of its passage. */
  readonly position: number;
  readonly sentence: Sentence;
  readonly text: string;
  readonly terms: ReadonlySet<string>;
  /** Weighted part of the question's terms that the sentence itself has, 0 to 1. */
  readonly overlap: number;
  /** The same with the headings above it and the sentence before it, which count half. */
  readonly coverage: number;
  /** Similarity of its meaning to the question's, -1 to 1. */
  readonly cosine: number;
  /** All of it together; comparable inside one question. */
  readonly score: number;
}

/** A question as it is compared with sentences. */
export interface Question {
  readonly text: string;
  /** Weight of each of its terms; they sum to 1. */
  readonly weights: ReadonlyMap<string, number>;
  readonly vector: Float32Array;
}

const analyzer = new Analyzer("english");
/** Words of asking rather than of what is asked for, as terms. */
const ASKING = new Set(analyzer.terms("explain describe tell show give please mean meaning work use used using get make happen way thing"));
const ASKING_WEIGHT = 0.25;

/** Above it, a stretch is a drawing or a formula, not a sentence. */
const MOST_NOISE = 0.3;

/** A sentence that is about what the one before is about. */
export const BACK_REFERENCE = /^(?:it|its|they|their|this|these|he|she)\b/i;
/** How much a term of the sentence before counts in one that refers back to it. */
const ANTECEDENT = 0.8;
const NO_TERMS: ReadonlySet<string> = new Set();

const OVERLAP_WEIGHT = 0.35;
const COVERAGE_WEIGHT = 0.2;
const COSINE_WEIGHT = 0.3;
const PASSAGE_WEIGHT = 0.15;

/** Reads a question: rare terms, seen over the passages' sentences, weigh more. */
export function readQuestion(text: string, sentenceTerms: readonly ReadonlySet<string>[], embedder: StaticEmbedder): Question {
  const terms = [...new Set(analyzer.terms(text))];
  const raw = terms.map((term) => {
    const having = sentenceTerms.filter((set) => set.has(term)).length;
    const rarity = Math.log(1 + (sentenceTerms.length + 1) / (having + 0.5));
    return ASKING.has(term) ? rarity * ASKING_WEIGHT : rarity;
  });
  const sum = raw.reduce((a, b) => a + b, 0);
  return {
    text,
    weights: new Map(terms.map((term, i) => [term, sum === 0 ? 0 : (raw[i] as number) / sum])),
    vector: embedder.embedText(text),
  };
}

/** All sentences of the passages that can be quoted, best first. A stretch that two passages share is taken once. */
export function rankSentences(text: string, passages: readonly Passage[], embedder: StaticEmbedder): { question: Question; candidates: Candidate[] } {
  const found = passages.flatMap((passage, rank) => quotable(passage, rank));
  const seen = new Set<string>();
  const distinct = found.filter(({ passage, sentence }) => {
    const key = `${passage.documentId}\n${passage.start + sentence.start}`;
    return seen.has(key) ? false : seen.add(key);
  });
  const question = readQuestion(text, distinct.map(({ terms }) => terms), embedder);
  const best = Math.max(...passages.map(({ score }) => score), Number.MIN_VALUE);
  const candidates = distinct.map((candidate) => {
    const said = (term: string) => (candidate.terms.has(term) ? 1 : candidate.antecedent.has(term) ? ANTECEDENT : 0);
    const overlap = weightOf(question, said);
    const coverage = weightOf(question, (term) => said(term) || (candidate.context.has(term) ? 0.5 : 0));
    const cosine = dot(question.vector, embedder.embedText(candidate.text));
    const score =
      (OVERLAP_WEIGHT * overlap +
        COVERAGE_WEIGHT * coverage +
        COSINE_WEIGHT * Math.max(0, cosine) +
        PASSAGE_WEIGHT * Math.max(0, candidate.passage.score / best)) *
      form(text, candidate.text, candidate.sentence);
    return { ...candidate, overlap, coverage, cosine, score };
  });
  return { question, candidates: candidates.sort((a, b) => b.score - a.score) };
}

function quotable(passage: Passage, rank: number) {
  const sentences = splitSentences(passage.text);
  const headings = new Set(passage.headings.flatMap((heading) => analyzer.terms(heading)));
  let context = headings;
  let before = NO_TERMS;
  const found = [];
  for (const [position, sentence] of sentences.entries()) {
    const text = readable(passage.text.slice(sentence.start, sentence.end));
    const terms = new Set(analyzer.terms(text));
    if (sentence.kind === "heading") context = new Set([...headings, ...terms]);
    else if (sentence.kind !== "code" && terms.size > 0 && noise(text) < MOST_NOISE) {
      const antecedent = BACK_REFERENCE.test(text) ? before : NO_TERMS;
      found.push({ passage, rank, position, sentence, text, terms, antecedent, context: new Set([...context, ...before]) });
    }
    // What "it" stands for is said once, and meant until something else is said.
    before = sentence.kind === "heading" ? NO_TERMS : BACK_REFERENCE.test(text) ? new Set([...before, ...terms]) : terms;
  }
  return found;
}

function weightOf({ weights }: Question, has: (term: string) => number): number {
  let sum = 0;
  for (const [term, weight] of weights) sum += weight * has(term);
  return sum;
}

/** How well a sentence's form fits an answer, as a factor around 1. */
function form(question: string, text: string, sentence: Sentence): number {
  const words = text.split(" ").length;
  let factor = 1;
  if (words < 4) factor *= 0.6;
  else if (words > 60) factor *= 0.8;
  if (/\?["')\]]*$/.test(text)) factor *= 0.6;
  if (/:$/.test(text)) factor *= 0.75;
  if (noise(text) > 0.2) factor *= 0.7;
  if (sentence.kind === "prose" && !/[.!。！…]["')\]]*$/.test(text)) factor *= 0.85;
  if (defines(question, text)) factor *= 1.35;
  if (/^(?:how (?:many|much|long|large|big|fast|often)|when|which (?:port|version|number))\b/i.test(question) && /\d/.test(text)) factor *= 1.15;
  if (/^why\b/i.test(question) && /\b(?:because|since|so that|otherwise|therefore|due to|reason)\b/i.test(text)) factor *= 1.1;
  return factor;
}

/** "What is X?" and a sentence that begins with X and says what it is. */
function defines(question: string, text: string): boolean {
  const asked = /^what (?:is|are) (?:an? |the )?(.+?)\??$/i.exec(question.trim())?.[1];
  if (asked === undefined) return false;
  const begin = text.toLowerCase().replace(/^(?:an?|the) |[`*_"'“”]/g, "").slice(0, asked.length + 40);
  const subject = asked.toLowerCase().replace(/[`*_"'“”]/g, "");
  return begin.startsWith(subject.slice(0, Math.max(3, subject.length - 2))) && /^.{0,24}?(?: (?:is|are|means?|refers? to|represents?) | [-–—] )/.test(begin.slice(subject.length - 2));
}

/** Part of a text that is neither letters, digits nor spaces. */
function noise(text: string): number {
  return (text.match(/[^\p{L}\p{N}\s.,;'’"-]/gu)?.length ?? 0) / Math.max(1, text.length);
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += (a[i] as number) * (b[i] as number);
  return sum;
}
