import { LRUCache } from "lru-cache";
import { loadStaticEmbedder } from "../../embedding/static-embedder.js";
import type { Answerer, Citation, Passage } from "../answerer.js";
import { NO_USAGE } from "../language-model.js";
import { readable } from "../readable.js";
import { type Sentence, splitSentences } from "../sentences.js";
import { asksForAmount, BACK_REFERENCE, type Candidate, hasAmount, type QuotableSentence, rankSentences } from "./ranking.js";

/** The name that configuration, requests and answers know it by. */
export const EXTRACTIVE_MODEL = "extractive";

/** Changes when it answers otherwise: part of every key of a cached answer. */
export const EXTRACTIVE_VERSION = "3";

/** What is said when the passages do not hold an answer. */
export const NOT_ANSWERED = "The documents do not answer this question.";

const MAX_SENTENCES = 4;
/** Passages that are kept as they were read, at about 30 KB each. */
const MAX_KNOWN_PASSAGES = 256;
/**
 * Below it the best sentence is taken to be about something else. Chosen on the judged collection (docs/adr/0069): of 115 questions
 * that it answers 113 were answered, of 36 that it does not 32 were declined.
 */
export const ANSWER_THRESHOLD = 0.4;
/** What a name that no passage has takes from the confidence. */
const STRANGE_NAME = 0.1;
/** Part of the best score that a further sentence must reach. */
const FURTHER = 0.84;
/** Part of the best score that the sentence after a chosen one must reach. */
const FOLLOWING = 0.5;
/** Part of a sentence's terms that an earlier one may have said already. */
const REPEATED = 0.6;

/** Answers in the documents' own sentences: needs no key, no network, and cannot make anything up. */
export function extractiveAnswerer(): Answerer {
  const known = new LRUCache<string, readonly QuotableSentence[]>({ max: MAX_KNOWN_PASSAGES });
  return {
    model: EXTRACTIVE_MODEL,
    async answer({ question: asked, alone: question = asked, passages, signal }, onEvent) {
      signal?.throwIfAborted();
      const { candidates } = rankSentences(question, passages, await loadStaticEmbedder(), known);
      const spans = joinNeighbours(isAbout(question, passages, candidates) ? chooseSentences(candidates, question) : []).map((span) => understandable(span, candidates));
      if (spans.length === 0) {
        onEvent?.({ text: NOT_ANSWERED });
        return { text: NOT_ANSWERED, citations: [], usage: NO_USAGE, model: EXTRACTIVE_MODEL };
      }
      const citations: Citation[] = [];
      let text = "";
      for (const [i, span] of spans.entries()) {
        const citation = cite(span, i + 1);
        const piece = `${i === 0 ? "" : span[0]?.sentence.kind === "prose" ? " " : "\n\n"}${termOf(span)}${sentencesOf(span)}${codeAfter(span)} [${citation.index}]`;
        text += piece;
        citations.push(citation);
        onEvent?.({ text: piece });
        onEvent?.({ citation });
      }
      return { text, citations, usage: NO_USAGE, model: EXTRACTIVE_MODEL };
    },
  };
}

/** How sure it is that a sentence answers, 0 to 1. */
export function confidence({ coverage, cosine }: Candidate): number {
  return 0.6 * coverage + 0.4 * Math.max(0, cosine);
}

/** Whether what was found is about the question at all. */
function isAbout(question: string, passages: readonly Passage[], candidates: readonly Candidate[]): boolean {
  const said = passages.map(({ headings, text }) => [...headings, text].join("\n").toLowerCase());
  const strange = (name: string) => said.every((text) => !text.includes(name.toLowerCase()));
  // "innodb_buffer_pool_size", "MySQL": a passage without the name is about another thing that is called alike.
  if ((question.match(/[\p{L}\p{N}]*(?:_|\p{Ll}\p{Lu})[\p{L}\p{N}_]*/gu) ?? []).some(strange)) return false;
  const proper = (question.match(/(?<=[\p{L}\p{N},]\s)\p{Lu}\p{Ll}+/gu) ?? []).filter(strange).length;
  return Math.max(0, ...candidates.slice(0, 5).map(confidence)) - STRANGE_NAME * Math.min(1, proper) >= ANSWER_THRESHOLD;
}

/** The best sentences, in the order in which they are read. */
export function chooseSentences(candidates: readonly Candidate[], question: string): Candidate[] {
  const best = candidates[0];
  if (best === undefined) return [];
  const chosen: Candidate[] = [best];
  const follower = candidates.find((other) => follows(other, best) && other.score >= FOLLOWING * best.score);
  if (follower !== undefined) chosen.push(follower);
  const amount = asksForAmount(question) && !hasAmount(best.text) ? candidates.find((other) => besides(other, best) && hasAmount(other.text)) : undefined;
  if (amount !== undefined && !chosen.includes(amount)) chosen.push(amount);
  for (const candidate of candidates) {
    if (chosen.length === MAX_SENTENCES || candidate.score < FURTHER * best.score) break;
    if (!chosen.includes(candidate) && chosen.every((other) => !repeats(candidate, other))) chosen.push(candidate);
  }
  // What belongs together stays together: by passage in the order of their best sentence, then as written.
  const passages = [...new Set(chosen.map(({ rank }) => rank))];
  return chosen.sort((a, b) => passages.indexOf(a.rank) - passages.indexOf(b.rank) || a.position - b.position);
}

function follows(candidate: Candidate, before: Candidate): boolean {
  return candidate.rank === before.rank && candidate.position === before.position + 1;
}

/** Under the same heading of the same passage. */
function besides(candidate: Candidate, other: Candidate): boolean {
  return candidate.rank === other.rank && candidate.heading === other.heading;
}

function repeats(candidate: Candidate, earlier: Candidate): boolean {
  let shared = 0;
  for (const term of candidate.terms) if (earlier.terms.has(term)) shared += 1;
  return shared > REPEATED * Math.min(candidate.terms.size, earlier.terms.size) && candidate.terms.size <= earlier.terms.size * 2;
}

/** Sentences that follow each other in one passage are one quote. */
function joinNeighbours(sentences: readonly Candidate[]): Candidate[][] {
  const spans: Candidate[][] = [];
  for (const sentence of sentences) {
    const last = spans.at(-1);
    if (last !== undefined && follows(sentence, last.at(-1) as Candidate)) last.push(sentence);
    else spans.push([sentence]);
  }
  return spans;
}

/** Sentences that a span may be lengthened by so that it can be understood. */
const MOST_ANTECEDENTS = 2;

/** The span with what its "it" or "this" stands for, where that is said right before it. */
function understandable(span: readonly Candidate[], candidates: readonly Candidate[]): Candidate[] {
  const whole = [...span];
  for (let i = 0; i < MOST_ANTECEDENTS && BACK_REFERENCE.test(whole[0]!.text); i += 1) {
    const before = candidates.find((other) => follows(whole[0]!, other) && other.sentence.kind === "prose");
    if (before === undefined) break;
    whole.unshift(before);
  }
  return whole;
}

/** The defined term right above a span, which its sentences are about without saying so; empty when there is none. */
function termOf(span: readonly Candidate[]): string {
  const term = termAbove(span);
  return term === undefined ? "" : `${readable(span[0]!.passage.text.slice(term.start, term.end))}: `;
}

function termAbove([first]: readonly Candidate[]): Sentence | undefined {
  return first?.leads === true && first.heading.name !== undefined ? first.heading.sentence : undefined;
}

/** Longest code that is quoted with the sentence that leads to it. */
const MAX_CODE = 600;

/** The code that a span's last sentence leads to: "To rename it:". */
function codeAfter(span: readonly Candidate[]): string {
  const { passage, sentence } = span.at(-1)!;
  const code = codeBehind(span);
  return code === undefined ? "" : `\n\n${passage.text.slice(sentence.end, code.end).trim()}\n\n`;
}

function codeBehind(span: readonly Candidate[]): Sentence | undefined {
  const { passage, position, text } = span.at(-1)!;
  const next = text.endsWith(":") ? splitSentences(passage.text)[position + 1] : undefined;
  return next?.kind === "code" && next.end - next.start <= MAX_CODE ? next : undefined;
}

function sentencesOf(span: readonly Candidate[]): string {
  return span.map(({ text, sentence }, i) => (i > 0 && sentence.kind !== "prose" ? `\n- ${text}` : i > 0 ? ` ${text}` : text)).join("");
}

function cite(span: readonly Candidate[], index: number): Citation {
  const { passage, sentence } = span[0] as Candidate;
  const start = (termAbove(span) ?? sentence).start;
  const end = (codeBehind(span) ?? (span.at(-1) as Candidate).sentence).end;
  return {
    index,
    documentId: passage.documentId,
    chunkId: passage.chunkId,
    source: passage.source,
    start: passage.start + start,
    end: passage.start + end,
    quote: passage.text.slice(start, end),
    ...(passage.page !== undefined && { page: passage.page }),
  };
}
