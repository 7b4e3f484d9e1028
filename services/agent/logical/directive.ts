import type { JsonObject } from "@bufbuild/protobuf";
import { Analyzer } from "../../../runtime/terms/terms.js";
import { type Parameters, takeFilters } from "./parameters.js";

/** What to search for, and how. */
export interface Directive {
  readonly queryText: string;
  readonly mode: "hybrid" | "semantic" | "keyword";
  readonly filters: JsonObject;
}

const analyzer = new Analyzer("english");
/** Words of asking; what they ask for is what is searched. */
const ASKING = new Set(analyzer.terms("please tell explain describe show give find list know want need like question answer information"));
const NEGATION = /^(?:not|no|never|without|except|cannot|\w+n't)$/i;

/** The words of a question that say what is looked for, as they are written; conditions on documents become filters. */
export function directiveFor(question: string, { phrases, filters }: Parameters): Directive {
  const { text } = takeFilters(question);
  const words = text.split(/\s+/).map((word) => word.replace(/^[^\p{L}\p{N}"“]+|[^\p{L}\p{N}"”]+$/gu, ""));
  const kept = words.filter((word) => word !== "" && (NEGATION.test(word) || analyzer.terms(word).some((term) => !ASKING.has(term))));
  return {
    queryText: kept.length === 0 ? text : kept.join(" "),
    mode: phrases.length > 0 || kept.some(isIdentifier) ? "keyword" : "hybrid",
    filters: { ...filters },
  };
}

/** Names of code, files and parts are found as they are written. */
function isIdentifier(word: string): boolean {
  return /[a-z][A-Z]|_|[a-z]\.[a-z]{1,5}$|^[A-Z]{2,}[-_]?\d+$/.test(word);
}
