import { Analyzer } from "../terms/terms.js";
import type { Citation, Passage } from "./answerer.js";
import { splitSentences } from "./sentences.js";

const analyzer = new Analyzer("english");
/** Part of a claim's terms that a sentence must have to be its quote; else the whole passage is. */
const SUPPORTING = 0.34;
/** How much a second sentence must add to be quoted too. */
const ADDING = 0.2;

/**
 * What of a passage a claim relies on: the sentence that shares most terms with
 * it, with the one before or after when that adds to it, or the whole passage
 * when no sentence stands out.
 */
export function bestQuote(passage: Passage, claim: string): Omit<Citation, "index"> {
  const { start, end } = supportingSpan(passage.text, new Set(analyzer.terms(claim)));
  return {
    documentId: passage.documentId,
    chunkId: passage.chunkId,
    source: passage.source,
    start: passage.start + start,
    end: passage.start + end,
    quote: passage.text.slice(start, end),
    ...(passage.page !== undefined && { page: passage.page }),
  };
}

function supportingSpan(text: string, claim: ReadonlySet<string>): { start: number; end: number } {
  const whole = { start: 0, end: text.length };
  if (claim.size === 0) return whole;
  const sentences = splitSentences(text).map(({ start, end }) => ({ start, end, terms: new Set(analyzer.terms(text.slice(start, end))) }));
  const shared = (...several: (ReadonlySet<string> | undefined)[]) =>
    [...claim].filter((term) => several.some((terms) => terms?.has(term))).length / claim.size;
  let best = -1;
  for (const [i, { terms }] of sentences.entries()) {
    if (best === -1 || shared(terms) > shared(sentences[best]?.terms)) best = i;
  }
  const main = sentences[best];
  if (main === undefined || shared(main.terms) < SUPPORTING) return whole;
  const neighbours = [sentences[best - 1], sentences[best + 1]].filter((one) => one !== undefined);
  const added = neighbours
    .map((one) => ({ one, gain: shared(main.terms, one.terms) - shared(main.terms) }))
    .sort((a, b) => b.gain - a.gain)[0];
  if (added === undefined || added.gain < ADDING) return { start: main.start, end: main.end };
  return { start: Math.min(main.start, added.one.start), end: Math.max(main.end, added.one.end) };
}
