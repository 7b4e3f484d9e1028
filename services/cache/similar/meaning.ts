/**
 * What a question says, reduced to the words that carry it. Two questions have the same meaning here only when the same
 * words stand in the same order: whatever tells opposites apart (a negation, a number, a name, "before" or "after", who
 * does what to whom) is a word or its place, so that none has to be foreseen. What may differ is listed below.
 */
export interface Meaning {
  readonly words: readonly string[];
  /** Whether each word begins with a capital where it need not; undefined where that says nothing. */
  readonly capitals: readonly (boolean | undefined)[];
  /** Whether its writer uses capitals at all. */
  readonly usesCapitals: boolean;
}

/** May be there or not. "your" is not among them: whose something is matters, unless it is the asker's. */
const LIGHT = new Set(
  "a an the my our please kindly pls hi hello hey thanks thank exactly actually really basically do does".split(" "),
);

/** Written in capitals these are names, e.g. US, IT, WHO. */
const NAMES_IN_CAPITALS = new Set("us it who or in on may can am pm as at me no so to do go he if we all and not is be".split(" "));

/** Openings that only ask to be answered. */
const OPENINGS = [
  /^(?:(?:hi|hello|hey)(?: there)?[,!.]? )+/i,
  /^(?:please|kindly),? /i,
  /^(?:can|could|would|will) you (?:please |kindly )?(?:tell me|let me know|explain to me) (?=(?:what|which|how|why|when|where|who|whether|if)\b)/i,
  /^(?:please )?tell me (?=(?:what|which|how|why|when|where|who)\b)/i,
  /^do you know (?=(?:what|which|how|why|when|where|who)\b)/i,
  /^i(?: would|'d) (?:like|love) to know (?=(?:what|which|how|why|when|where|who)\b)/i,
  /^i (?:want|need) to know (?=(?:what|which|how|why|when|where|who)\b)/i,
  /^i (?:was|am) wondering (?=(?:what|which|how|why|when|where|who)\b)/i,
];

/** "How do I", "how can we", "how to": they ask for the same steps. "Should" asks for advice. */
const HOW_TO = /^(how|where) (?:(?:do|can|could|would) (?:i|we|you|one)|to) /i;

/** "In Kubernetes, how ...": the place of such a phrase says nothing. */
const PLACE_FIRST = /^((?:in|on|for|with|under|within|at) [^,?]{1,60}), (.+)$/i;

const CONTRACTIONS: [RegExp, string][] = [
  [/\bcan't\b|\bcannot\b/gi, "can not"],
  [/\bwon't\b/gi, "will not"],
  [/\bshan't\b/gi, "shall not"],
  [/n't\b/gi, " not"],
  [/'re\b/gi, " are"],
  [/'ve\b/gi, " have"],
  [/'ll\b/gi, " will"],
  [/'m\b/gi, " am"],
  [/\b(what|how|where|who|when|why|it|that|there|here)'s\b/gi, "$1 is"],
];

/** Two spellings of one word. */
const SPELLINGS = new Map(
  Object.entries({
    config: "configuration",
    info: "information",
    repo: "repository",
    app: "application",
    db: "database",
    env: "environment",
    k8s: "kubernetes",
    admin: "administrator",
    param: "parameter",
    vs: "versus",
    "&": "and",
  }),
);

/** Their plural is another word. */
const NOT_PLURALS = new Set("news means goods customs arms glasses works its his this thus always sometimes less plus minus yes as is was has does us".split(" "));

/** The meaning of a question in English; other languages are compared word for word. */
export function meaningOf(question: string): Meaning {
  let text = question.normalize("NFKC").replace(/[‘’]/g, "'").replace(/[“”«»]/g, '"').replace(/\s+/g, " ").trim();
  for (let before = ""; before !== text; ) {
    before = text;
    for (const opening of OPENINGS) text = text.replace(opening, "");
  }
  text = text.replace(PLACE_FIRST, (_, place: string, rest: string) => `${rest.replace(/[?.! ]+$/, "")} ${place[0]!.toLowerCase()}${place.slice(1)}`);
  const { text: unquoted, quotes } = takeQuotes(text);
  let plain = unquoted;
  for (const [contraction, words] of CONTRACTIONS) plain = plain.replace(contraction, words);
  plain = plain.replace(HOW_TO, "$1 ");
  const tokens = plain.split(" ").map(trimmed).filter((token) => token !== "");
  return toMeaning(withBe(tokens), quotes);
}

/** Whether one may be answered with the answer to the other. */
export function sameMeaning(a: Meaning, b: Meaning): boolean {
  if (a.words.length < 2 || a.words.length !== b.words.length) return false;
  const compareCapitals = a.usesCapitals && b.usesCapitals;
  return a.words.every((word, i) => {
    if (word !== b.words[i]) return false;
    const [mine, theirs] = [a.capitals[i], b.capitals[i]];
    // Polish and polish, Turkey and turkey: told apart only where both writers use capitals.
    return !compareCapitals || mine === undefined || theirs === undefined || mine === theirs;
  });
}

const QUOTE_MARK = "\u0001";
const BE_MARK = "\u0002";

/** Takes quoted strings out: they are names of themselves, to the letter. */
function takeQuotes(text: string): { text: string; quotes: string[] } {
  const quotes: string[] = [];
  const replaced = text.replace(/"([^"]*)"|`([^`]*)`|(?<![\p{L}\p{N}])'([^']*)'(?![\p{L}\p{N}])/gu, (_, ...groups: (string | undefined)[]) => {
    quotes.push(groups[0] ?? groups[1] ?? groups[2] ?? "");
    return QUOTE_MARK;
  });
  return { text: replaced, quotes };
}

/** Without the punctuation around it. What may be part of a word (+ # % - ! before it) stays. */
function trimmed(token: string): string {
  return token.replace(/^[([{"'¿¡]+/, "").replace(/[.,;:!?)\]}"']+$/, "");
}

/** "what is X" and "what X is" say the same: a form of "to be" that only makes the question is moved to its end. */
function withBe(tokens: string[]): string[] {
  const second = tokens[1]?.toLowerCase();
  const asks = /^(?:what|how|where|who|when|why|which)$/i.test(tokens[0] ?? "");
  if (asks && (second === "is" || second === "are")) return [tokens[0]!, ...tokens.slice(2), BE_MARK];
  const last = tokens.at(-1)?.toLowerCase();
  if (asks && (last === "is" || last === "are")) return [...tokens.slice(0, -1), BE_MARK];
  return tokens;
}

function toMeaning(tokens: string[], quotes: string[]): Meaning {
  const shouts = tokens.every((token) => token === token.toUpperCase());
  const words: string[] = [];
  const capitals: (boolean | undefined)[] = [];
  let quoted = 0;
  tokens.forEach((token, i) => {
    const lower = token.toLowerCase();
    // A do that is not right after the question's first word is the verb: "what does it do".
    const auxiliary = words.length <= 1 || (lower !== "do" && lower !== "does");
    const isName = !shouts && token.length > 1 && token === token.toUpperCase() && NAMES_IN_CAPITALS.has(lower);
    if (LIGHT.has(lower) && auxiliary && !isName) return;
    words.push(token.includes(QUOTE_MARK) ? token.replace(QUOTE_MARK, () => JSON.stringify(quotes[quoted++])) : isName ? token : wordOf(lower));
    capitals.push(i === 0 || token === BE_MARK ? undefined : token !== lower);
  });
  return { words, capitals, usesCapitals: !shouts && capitals.some((capital) => capital === true) };
}

function wordOf(lower: string): string {
  if (/\d/.test(lower)) return /^\d{1,3}(?:,\d{3})+(?:\.\d+)?$/.test(lower) ? lower.replaceAll(",", "") : (SPELLINGS.get(lower) ?? lower);
  const singular = singularOf(lower.replace(/'s$/, ""));
  return SPELLINGS.get(singular) ?? singular;
}

/** "users" as "user", "policies" as "policy", "boxes" as "box". */
function singularOf(word: string): string {
  if (word.length < 4 || NOT_PLURALS.has(word) || !/[^suia]s$/.test(word)) return word;
  if (word.endsWith("ies")) return `${word.slice(0, -3)}y`;
  if (/(?:ch|sh|x|z|ss)es$/.test(word)) return word.slice(0, -2);
  return word.slice(0, -1);
}
