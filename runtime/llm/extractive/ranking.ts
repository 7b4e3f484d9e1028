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
  /** The heading or defined term that it stands under. */
  readonly heading: Heading;
  /** Nothing stands between it and a heading of its passage. */
  readonly leads: boolean;
  /** Weighted part of the question's terms that the sentence itself has, or is told of by what it stands under, 0 to 1. */
  readonly overlap: number;
  /** The same with the headings above it and the sentence before it, which count half. */
  readonly coverage: number;
  /** Similarity of its meaning to the question's, -1 to 1. */
  readonly cosine: number;
  /** All of it together; comparable inside one question. */
  readonly score: number;
}

/** What a sentence stands under. */
export interface Heading {
  readonly terms: ReadonlySet<string>;
  /** The name that it defines, as it is written; undefined for a title. */
  readonly name: string | undefined;
  /** Where the passage has it; undefined when it is above the passage. */
  readonly sentence: Sentence | undefined;
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
const ASKING = new Set(analyzer.terms("explain describe tell show give please mean meaning work use used using get make happen way thing value"));
const ASKING_WEIGHT = 0.25;

/** Above it, a stretch is a drawing or a formula, not a sentence. */
const MOST_NOISE = 0.3;

/** A sentence that is about what the one before is about. */
export const BACK_REFERENCE = /^(?:it|its|they|their|this|these|he|she)\b/i;
/** How much a term of the sentence before counts in one that refers back to it. */
const ANTECEDENT = 0.8;
const NO_TERMS: ReadonlySet<string> = new Set();
/** How much a term counts that is not in the sentence, but in the heading above it: all of whose terms the question has, or most. */
const NAMED = 0.9;
const NEARLY_NAMED = 0.6;
/** And one that a row has, but not in the cell that says what the row is about. */
const OTHER_CELL = 0.6;
const NEARLY = 0.6;

/** Words that questions and manuals choose differently: for the ends of a range, and for what "how large" and "how long" ask. */
const SAME = new Map<string, string>(
  Object.entries({
    maximum: "max largest longest greatest biggest upper limit",
    minimum: "min smallest least lowest shortest lower",
    size: "large big",
    length: "long",
  }).flatMap(([one, others]) => {
    const [into = ""] = analyzer.terms(one);
    return analyzer.terms(others).map((term): [string, string] => [term, into]);
  }),
);

const OVERLAP_WEIGHT = 0.35;
const COVERAGE_WEIGHT = 0.2;
const COSINE_WEIGHT = 0.3;
const PASSAGE_WEIGHT = 0.15;

/** What a text says, whichever of such words it uses. */
function termsOf(text: string): Set<string> {
  return new Set(analyzer.terms(text).map((term) => SAME.get(term) ?? term));
}

/** Reads a question: rare terms, seen over the passages' sentences, weigh more. */
export function readQuestion(text: string, sentenceTerms: readonly ReadonlySet<string>[], embedder: StaticEmbedder): Question {
  const terms = [...termsOf(text)];
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

/** A sentence of a passage that can be quoted, as far as no question matters. */
export type QuotableSentence = ReturnType<typeof readPassage>[number];

/** Passages that were read before, by what they say: passages that answer one question answer others. */
export interface ReadPassages {
  get(key: string): readonly QuotableSentence[] | undefined;
  set(key: string, sentences: readonly QuotableSentence[]): unknown;
}

/** All sentences of the passages that can be quoted, best first. A stretch that two passages share is taken once. */
export function rankSentences(
  text: string,
  passages: readonly Passage[],
  embedder: StaticEmbedder,
  known: ReadPassages = new Map(),
): { question: Question; candidates: Candidate[] } {
  const found = passages.flatMap((passage, rank) => quotable(passage, embedder, known).map((sentence) => ({ ...sentence, passage, rank })));
  const seen = new Set<string>();
  const distinct = found.filter(({ passage, sentence }) => {
    const key = `${passage.documentId}\n${passage.start + sentence.start}`;
    return seen.has(key) ? false : seen.add(key);
  });
  const question = readQuestion(text, distinct.map(({ terms }) => terms), embedder);
  const names = namesIn(text);
  const best = Math.max(...passages.map(({ score }) => score), Number.MIN_VALUE);
  const candidates = distinct.map((candidate) => {
    const named = partOf(candidate.heading.terms, question.weights);
    const byHeading = named === 1 ? NAMED : named >= NEARLY ? NEARLY_NAMED : 0;
    const said = (term: string) =>
      candidate.terms.has(term) ? (candidate.subject === NO_TERMS || candidate.subject.has(term) ? 1 : OTHER_CELL) : Math.max(candidate.antecedent.has(term) ? ANTECEDENT : 0, candidate.heading.terms.has(term) ? byHeading : 0);
    const overlap = weightOf(question, said);
    const coverage = weightOf(question, (term) => said(term) || (candidate.context.has(term) ? 0.5 : 0));
    const cosine = dot(question.vector, candidate.vector);
    const score =
      (OVERLAP_WEIGHT * overlap +
        COVERAGE_WEIGHT * coverage +
        COSINE_WEIGHT * Math.max(0, cosine) +
        PASSAGE_WEIGHT * Math.max(0, candidate.passage.score / best)) *
      form(text, candidate.text, candidate.sentence) *
      (candidate.leads && named === 1 && DEFINING.test(text) ? LEAD : 1) *
      (partOf(candidate.subject, question.weights) === 1 ? ROW_ABOUT : 1) *
      aboutName(names, candidate);
    return { ...candidate, overlap, coverage, cosine, score };
  });
  return { question, candidates: candidates.sort((a, b) => b.score - a.score) };
}

function quotable(passage: Passage, embedder: StaticEmbedder, known: ReadPassages): readonly QuotableSentence[] {
  const key = [...passage.headings, passage.text].join("\n");
  const before = known.get(key);
  if (before !== undefined) return before;
  const read = readPassage(passage, embedder);
  known.set(key, read);
  return read;
}

function readPassage(passage: Pick<Passage, "text" | "headings">, embedder: StaticEmbedder) {
  const sentences = splitSentences(passage.text);
  const above = new Set(passage.headings.slice(0, -1).flatMap((heading) => [...termsOf(heading)]));
  let heading = headingOf(passage.headings.at(-1) ?? "", undefined);
  let leads = false;
  let before = NO_TERMS;
  // The first row of a table says what the others hold.
  let columns = NO_TERMS;
  const found = [];
  for (const [position, sentence] of sentences.entries()) {
    const text = readable(passage.text.slice(sentence.start, sentence.end));
    if (sentence.kind === "heading") {
      heading = headingOf(text, sentence);
      leads = true;
      before = NO_TERMS;
      continue;
    }
    const terms = termsOf(text);
    if (sentence.kind === "row" && sentences[position - 1]?.kind !== "row") columns = terms;
    if (sentence.kind !== "row") columns = NO_TERMS;
    if (sentence.kind !== "code" && terms.size > 0 && noise(text) < MOST_NOISE) {
      const antecedent = BACK_REFERENCE.test(text) ? before : NO_TERMS;
      const context = new Set([...above, ...heading.terms, ...before, ...columns]);
      const subject = sentence.kind === "row" ? termsOf(firstCell(passage.text.slice(sentence.start, sentence.end))) : NO_TERMS;
      found.push({ position, sentence, text, terms, antecedent, heading, leads, context, subject, vector: embedder.embedText(text) });
    }
    leads = false;
    // What "it" stands for is said once, and meant until something else is said.
    before = BACK_REFERENCE.test(text) ? new Set([...before, ...terms]) : terms;
  }
  return found;
}

/** What a row of a table is about. */
function firstCell(row: string): string {
  return row.split("|").find((cell) => cell.trim() !== "") ?? "";
}

/** A title's number, and a type in parentheses, as manuals write them, say nothing: "20.3. Connections", "port (integer)". */
function headingOf(title: string, sentence: Sentence | undefined): Heading {
  const bare = title.replace(/^#*\s*(?:chapter |appendix )?[\dA-Z]*(?:\.\d+)*\.\s/i, "").replace(/\s*\([^()]*\)\s*$/, "").trim();
  return { terms: termsOf(bare), name: /^(?:`([^`]+)`|(\S*_\S*))$/.exec(bare)?.slice(1).find((name) => name !== undefined), sentence };
}

/** Names of things that are written as in code: with an underscore, a dot, a hyphen before digits, or in capitals inside. */
function namesIn(question: string): ReadonlySet<string> {
  return new Set(question.match(/[\p{L}\p{N}]+(?:[_.-][\p{L}\p{N}]+)*_[\p{L}\p{N}_.-]*[\p{L}\p{N}]|\b\p{Ll}+\p{Lu}[\p{L}\p{N}]*/gu) ?? []);
}

const DEFINES_NAME = 1.4;
const DEFINES_OTHER = 0.75;

/** A question that names a setting is answered where that is defined, seldom where another one is. */
function aboutName(names: ReadonlySet<string>, { heading, text }: { heading: Heading; text: string }): number {
  if (names.size === 0 || heading.name === undefined) return 1;
  if (names.has(heading.name)) return DEFINES_NAME;
  return [...names].some((name) => text.includes(name)) ? 1 : DEFINES_OTHER;
}

/** Part of the terms that a question has; 0 of none. */
function partOf(terms: ReadonlySet<string>, weights: ReadonlyMap<string, number>): number {
  if (terms.size === 0) return 0;
  let shared = 0;
  for (const term of terms) if (weights.has(term)) shared += 1;
  return shared / terms.size;
}

function weightOf({ weights }: Question, has: (term: string) => number): number {
  let sum = 0;
  for (const [term, weight] of weights) sum += weight * has(term);
  return sum;
}

/** Questions that what follows a heading answers at once. */
const DEFINING = /^what (?:is|are|does|do)\b/i;
const LEAD = 1.25;
/** A row of a table whose first cell says what is asked for. */
const ROW_ABOUT = 1.25;
/** Questions that a number, an amount or a name in code answers. */
const MEASURE =
  /^(?:how (?:many|much|long|large|big|fast|often)|when|which (?:port|version|number)|what (?:is|are) the (?:default|range|(?:max|min)imum|largest|longest|smallest|size|limit|number|port))\b|\bby default\b/i;
const AMOUNT = /\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|dozen|hundred|thousand|million|unlimited|zero|half|once|twice)\b/i;
/** A sentence that only sends the reader elsewhere. */
const REFERRAL = /\b(?:see (?:also )?(?:section|chapter|the)|described (?:further |in more detail )?in|refer to (?:section|chapter)|for more (?:details|information)|(?:section|chapter) [\dA-Z]+(?:\.\d+)*)\b/i;

export function asksForAmount(question: string): boolean {
  return MEASURE.test(question);
}

export function hasAmount(text: string): boolean {
  return AMOUNT.test(text.replace(REFERRAL, ""));
}

/** How well a sentence's form fits an answer, as a factor around 1. */
function form(question: string, text: string, sentence: Sentence): number {
  const words = text.split(" ").length;
  let factor = 1;
  if (words < 4 && sentence.kind !== "row") factor *= 0.6;
  else if (words > 60) factor *= 0.8;
  if (/\?["')\]]*$/.test(text)) factor *= 0.6;
  if (/:$/.test(text)) factor *= 0.75;
  if (noise(text) > 0.2) factor *= 0.7;
  if (sentence.kind === "prose" && !/[.!。！…]["')\]]*$/.test(text)) factor *= 0.85;
  if (defines(question, text)) factor *= 1.35;
  if (asksForAmount(question)) factor *= hasAmount(text) ? 1.2 : 0.8;
  if (REFERRAL.test(text) && words < 25) factor *= 0.75;
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
