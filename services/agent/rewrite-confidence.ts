import { Analyzer } from "../../runtime/terms/terms.js";

const analyzer = new Analyzer("english");
const NEGATION = /\b(?:not|no|never|without|except|unless|cannot|[a-z]+n't|disable[ds]?|un\w{4,})\b/gi;
const NUMBER = /\d+(?:[.,]\d+)*/g;

/**
 * How far a rewritten question can be trusted, 0 to 1: it keeps the terms of what was said, and what it adds comes from
 * the conversation. A number or a negation that appeared or vanished makes it another question: 0.
 */
export function rewriteConfidence(said: string, rewritten: string, context: readonly string[]): number {
  if (said.trim() === rewritten.trim()) return 1;
  const numbersOf = (text: string) => [...text.matchAll(NUMBER)].map(([number]) => number);
  const contextNumbers = new Set(context.flatMap(numbersOf));
  const before = numbersOf(said);
  const after = numbersOf(rewritten);
  if (before.some((number) => !after.includes(number))) return 0;
  if (after.some((number) => !before.includes(number) && !contextNumbers.has(number))) return 0;
  const negations = (text: string) => [...text.matchAll(NEGATION)].length;
  if (negations(said) > negations(rewritten)) return 0;

  const own = new Set(analyzer.terms(said));
  const result = new Set(analyzer.terms(rewritten));
  const known = new Set(context.flatMap((text) => analyzer.terms(text)));
  const added = [...result].filter((term) => !own.has(term));
  return share(own, (term) => result.has(term)) * share(added, (term) => known.has(term));
}

function share(terms: Iterable<string>, has: (term: string) => boolean): number {
  const all = [...terms];
  return all.length === 0 ? 1 : all.filter(has).length / all.length;
}
