import { partsOf } from "../question-parts.js";
import { topicOf } from "../contextual-rewrite.js";
import type { Pattern } from "./patterns.js";

/** What a question gives besides how it asks. */
export interface Parameters {
  /** What it is about; undefined when it names nothing. */
  readonly subject?: string;
  /** The two sides of a comparison, as far as they are named. */
  readonly left?: string;
  readonly right?: string;
  /** A span of years. */
  readonly from?: number;
  readonly to?: number;
  /** A span of numbers. */
  readonly min?: number;
  readonly max?: number;
  readonly numbers: readonly number[];
  /** Words in quotation marks, to be found as they are. */
  readonly phrases: readonly string[];
  /** Conditions on documents, written as key:value. */
  readonly filters: Readonly<Record<string, string | number | boolean>>;
}

const YEAR = "((?:1[0-9]|20|21)\\d{2})";
const SPAN = new RegExp(`\\b(?:from|between) ${YEAR} (?:to|and|until) ${YEAR}\\b`, "i");
const SINCE = new RegExp(`\\b(?:since|after|from) ${YEAR}\\b`, "i");
const BEFORE = new RegExp(`\\b(?:before|until|till) ${YEAR}\\b`, "i");
const RANGE = /\bbetween (-?\d+(?:\.\d+)?) and (-?\d+(?:\.\d+)?)\b/i;
const ABOVE = /\b(?:more|greater|higher|larger|over|above|at least)(?: than)? (-?\d+(?:\.\d+)?)\b/i;
const BELOW = /\b(?:less|fewer|lower|smaller|under|below|at most)(?: than)? (-?\d+(?:\.\d+)?)\b/i;
const FILTER = /(?:^|\s)([a-z][a-z0-9_]{0,40})[:=]("[^"]{1,100}"|[^\s?,;"']{1,100})/gi;
const ADJECTIVE = "(?:better|worse|faster|slower|cheaper|larger|smaller|safer|older|newer)";
const LEFT_THAN_RIGHT = new RegExp(`(?:^(?:is|are|was|were|do|does|why is|why are)\\s+)?(?:the |an? )?([^?,]{2,60}?)\\s+${ADJECTIVE} than (?:the |an? )?([^?,]{2,60})`, "i");
const WHICH_IS = new RegExp(`^(?:which|what)(?: one)? is ${ADJECTIVE}[,:]?\\s+(?:the |an? )?([^?,]{2,60}?) or (?:the |an? )?([^?,]{2,60})`, "i");
const ONE_SIDE = new RegExp(`^(?:is|are|was|were)\\s+(?:the |an? )?([^?,]{2,60}?)\\s+${ADJECTIVE}`, "i");

/** A question's conditions on documents and the question without them. */
export function takeFilters(question: string): { text: string; filters: Parameters["filters"] } {
  const filters: Record<string, string | number | boolean> = {};
  const text = question.replace(FILTER, (found, key: string, raw: string) => {
    // "http://..." and "12:30" are no conditions.
    if (raw.startsWith("//")) return found;
    filters[key] = valueOf(raw.replace(/^"|"$/g, "").replace(/[.!]+$/, ""));
    return " ";
  });
  return { text: text.replace(/\s+/g, " ").trim(), filters };
}

export function extractParameters(question: string, pattern: Pattern): Parameters {
  const { text, filters } = takeFilters(question);
  const [, fromYear, toYear] = SPAN.exec(text) ?? [];
  const from = numberIn(fromYear ?? SINCE.exec(text)?.[1]);
  const to = numberIn(toYear ?? BEFORE.exec(text)?.[1]);
  const isSpan = fromYear !== undefined;
  const [, low, high] = isSpan ? [] : (RANGE.exec(text) ?? []);
  const min = numberIn(low ?? ABOVE.exec(text)?.[1]);
  const max = numberIn(high ?? BELOW.exec(text)?.[1]);
  const subject = topicOf(text);
  return {
    ...(subject !== undefined && { subject }),
    ...(pattern.type === "comparative" && sidesOf(text, subject)),
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    ...(min !== undefined && { min }),
    ...(max !== undefined && { max }),
    numbers: [...text.matchAll(/-?\d+(?:\.\d+)?/g)].map(([number]) => Number(number)),
    phrases: [...text.matchAll(/"([^"]{2,100})"|“([^”]{2,100})”/g)].map(([, plain, curly]) => plain ?? curly ?? ""),
    filters,
  };
}

function sidesOf(text: string, subject: string | undefined): Pick<Parameters, "left" | "right"> {
  const parts = partsOf(text);
  if (parts.length === 2 && parts.every((part) => part.startsWith("What is "))) {
    const [left, right] = parts.map((part) => part.slice("What is ".length, -1));
    return { ...(left !== undefined && { left }), ...(right !== undefined && { right }) };
  }
  const [, left = ONE_SIDE.exec(text)?.[1], right] = WHICH_IS.exec(text) ?? LEFT_THAN_RIGHT.exec(text) ?? [];
  const named = left ?? (subject !== undefined && !new RegExp(`^${ADJECTIVE}$`, "i").test(subject) ? subject : undefined);
  return { ...(named !== undefined && { left: named }), ...(right !== undefined && { right: right.trim() }) };
}

function numberIn(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

function valueOf(text: string): string | number | boolean {
  if (/^(?:true|false)$/i.test(text)) return text.toLowerCase() === "true";
  return /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : text;
}
