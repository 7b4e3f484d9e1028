/**
 * Makes a question understandable alone by rules: what a pronoun or an
 * unfinished question refers to is taken from the questions before it.
 * Where nothing is referred to, the question stays as it is.
 */
export function rewriteByRules(question: string, earlier: readonly string[]): string {
  // What was asked before may refer back as well.
  const alone: string[] = [];
  for (const one of earlier.slice(-MAX_EARLIER)) alone.push(rewrite(one, alone));
  return rewrite(question, alone);
}

const MAX_EARLIER = 10;

function rewrite(question: string, earlier: readonly string[]): string {
  const text = question.trim();
  const before = earlier.findLast((one) => topicOf(one) !== undefined);
  const topic = before === undefined ? undefined : topicOf(before);
  if (before === undefined || topic === undefined) return text;

  const follow = FOLLOW_UP.exec(text)?.[1];
  if (follow !== undefined) {
    const [, preposition = "", named = ""] = /^(in|on|for|with|at|of|by|to|from)?\s*(.+)$/i.exec(follow) ?? [];
    // "And for valves?" asks the same of something else; "And at night?" asks the same under a condition.
    return preposition === "" || preposition.toLowerCase() === "for" ? withTopic(before, topic, named) : `${bare(before)} ${follow}?`;
  }
  if (BARE.test(text)) return `${bare(text)}: ${bare(before)}?`;
  return resolved(text, topic);
}

/** "And pumps?", "What about the pumps?", "How about at night?" */
const FOLLOW_UP = /^(?:and|but|so|or)?[\s,]*(?:what about|how about|and)\s+(?!how|what|why|when|where|who|which|is|are|was|were|does|do|did|can|could|will|would|should|has|have)([^?]{1,120})\?*$/i;
/** "Why?", "How so?", "More details please." */
const BARE = /^(?:(?:and|but|so)[\s,]+)?(?:why|how|when|where|who|how so|why not|since when|for example|more(?: details?)?(?: please)?|tell me more|explain(?: (?:that|it|this))?(?: (?:more|further|please))*|go on|continue|and then|what else|anything else)[\s?.!]*$/i;

const POSSESSIVE = /\b(?:its|their|his|her)\b(?=\s+[\p{L}\p{N}])/iu;
const OBJECT = /\b(?:it|they|them|he|she|him|this one|that one|these|those)\b/i;
/** "this" and "that" alone, not before a noun and not as a conjunction. */
const DEMONSTRATIVE = /(?:^|\b(?:is|are|was|does|did|do|can|could|about|of|for|with|on|in|to|from|by|at|than|use|using|change|configure|set|disable|enable)\s)(?:this|that)(?=\s*(?:[?.,!]|$|\b(?:is|are|was|work|works|mean|means|happen|happens|do|does|change|apply|help|affect)\b))/i;
/** "It is raining" and the like: the pronoun stands for nothing. */
const EXPLETIVE = /\b(?:is|was) it (?:possible|true|safe|necessary|allowed|better|ok|okay|worth)\b/i;

/** The first word that refers back becomes the topic, unless the question names what it is about itself. */
function resolved(text: string, topic: string): string {
  if (EXPLETIVE.test(text)) return text;
  const article = /^(?:the|an?|my|our|your)\s/i.test(topic) || /^\p{Lu}/u.test(topic) ? topic : `the ${topic}`;
  if (POSSESSIVE.test(text)) return text.replace(POSSESSIVE, /s$/.test(article) ? `${article}'` : `${article}'s`);
  const own = topicOf(text);
  if (own !== undefined && !DEMONSTRATIVE.test(text) && /\b(?:the|an?)\s/i.test(text.slice(0, text.search(OBJECT)))) return text;
  if (OBJECT.test(text)) return text.replace(OBJECT, article);
  return text.replace(DEMONSTRATIVE, (found) => found.replace(/(?:this|that)$/i, article));
}

function withTopic(question: string, topic: string, other: string): string {
  const withArticle = /^(?:the|an?)\s/i.test(other) ? `(?:(?:the|an?)\\s+)?` : "";
  const place = new RegExp(withArticle + topic.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "i");
  return `${bare(question.replace(place, () => other.trim()))}?`;
}

function bare(text: string): string {
  return text.trim().replace(/[?.!\s]+$/, "");
}

const STOP = new Set(
  `a an the is are was were be been do does did can could will would shall should may might must has have had how what why when where who whom
  which whose and or but if then of in on at to for from by with about into than as it its they them their this that these those there i you
  we me my our your he she his her him not no so very much many long often large big fast old please tell explain describe show give list
  find happens happen mean means work works use uses used using get make makes need needs between during after before within`.split(/\s+/),
);
/** Questions whose subject stands between their first verb and the next one. */
const DO_QUESTION = /^(?:(?:and|so|but)[\s,]+)?(?:how|why|when|where|what|which\s+[\p{L}\p{N}_-]+)\s+(?:much\s+|many\s+|often\s+|long\s+|fast\s+)?(?:does|do|did|can|could|will|would|should|must|may)\s+/iu;

/** What a question is about: its first group of words that say something, e.g. "rate limiter". */
export function topicOf(question: string): string | undefined {
  const doing = DO_QUESTION.exec(question)?.[0].length ?? 0;
  const groups = groupsOf(question.slice(doing));
  const first = groups[0];
  if (first === undefined) return undefined;
  // "How does the rate limiter decide?": the last word of the group is the verb.
  // "How long are embeddings cached?": the participle is no part of it either.
  const verbLast = doing > 0 || /^(?:how|why|when|where)\b/i.test(question) ? first.length > 1 && (doing > 0 || /(?:ed|ing|en)$/i.test(first.at(-1) ?? "")) : false;
  const words = verbLast ? first.slice(0, -1) : first.slice(0, 4);
  return words.join(" ");
}

/** Runs of words without stop words, as they are written. */
function groupsOf(text: string): string[][] {
  const groups: string[][] = [];
  let open: string[] | undefined;
  for (const match of text.matchAll(/[\p{L}\p{N}][\p{L}\p{N}_.'-]*|[^\s]/gu)) {
    const word = match[0].replace(/[.'-]+$/, "");
    if (!/^[\p{L}\p{N}]/u.test(word) || STOP.has(word.toLowerCase())) open = undefined;
    else if (open === undefined) groups.push((open = [word]));
    else open.push(word);
    if (/[.,;:]$/.test(match[0])) open = undefined;
  }
  return groups;
}
