/**
 * The Porter2 stemmer for English (Snowball's english.sbl, release 3.1), for words of lower-case letters: "connected",
 * "connecting" and "connections" become "connect". Steps about apostrophes are left out, because terms have none.
 * The algorithm: https://snowballstem.org/algorithms/english/stemmer.html
 */
const exceptions = new Map([
  ["skis", "ski"],
  ["skies", "sky"],
  ["idly", "idl"],
  ["gently", "gentl"],
  ["ugly", "ugli"],
  ["early", "earli"],
  ["only", "onli"],
  ["singly", "singl"],
  ...["andes", "atlas", "bias", "cosmos", "howe", "news", "sky"].map((word) => [word, word] as const),
]);

const regionPrefix = /^(?:arsen|commun|emerg|gener|inter|later|organ|past|univers)/;
/** From a position: up to and with the first consonant after a vowel. */
const region = /[aeiouy][^aeiouy]/g;
const vowel = /[aeiouy]/;
const shortSyllable = /(?:[^aeiouy][aeiouy][^aeiouywxY]|^[aeiouy][^aeiouy]|past)$/;

type Rule = readonly [suffix: string, replacement: string, before?: RegExp];

// Longest suffixes first: the longest that matches decides, even when its condition then fails.
const step2 = rules([
  ["tional", "tion"], ["ational", "ate"], ["enci", "ence"], ["anci", "ance"], ["abli", "able"], ["entli", "ent"],
  ["izer", "ize"], ["ization", "ize"], ["ation", "ate"], ["ator", "ate"], ["aliti", "al"], ["alism", "al"],
  ["alli", "al"], ["fulli", "ful"], ["fulness", "ful"], ["ousli", "ous"], ["ousness", "ous"], ["iviti", "ive"],
  ["iveness", "ive"], ["biliti", "ble"], ["bli", "ble"], ["ogist", "og"], ["ogi", "og", /l$/], ["lessli", "less"],
  ["li", "", /[cdeghkmnrt]$/],
]);
const step3 = rules([
  ["tional", "tion"], ["ational", "ate"], ["alize", "al"], ["icate", "ic"], ["iciti", "ic"], ["ical", "ic"],
  ["ful", ""], ["ness", ""], ["ative", ""],
]);
const step4 = rules([
  ["ion", "", /[st]$/],
  ...["ic", "ance", "ence", "able", "ible", "ate", "ive", "ize", "iti", "al", "ism", "er", "ous", "ant", "ent", "ment", "ement"].map(
    (suffix) => [suffix, ""] as const,
  ),
]);

function rules(list: readonly Rule[]): readonly Rule[] {
  return list.toSorted(([a], [b]) => b.length - a.length);
}

/** The stem of a word of lower-case letters; words of one or two letters are their own stems. */
export function stemEnglish(word: string): string {
  if (word.length < 3) return word;
  const exception = exceptions.get(word);
  if (exception !== undefined) return exception;

  // A y that sounds as a consonant is written Y from here on.
  let stem = word.replace(/^y/, "Y").replace(/([aeiouy])y/g, "$1Y");
  const prefix = regionPrefix.exec(stem);
  const r1 = prefix === null ? regionEnd(stem, 0) : prefix[0].length;
  const r2 = regionEnd(stem, r1);

  stem = withoutPlural(stem);
  stem = withoutPastOrProgressive(stem, r1);
  stem = stem.replace(/(.[^aeiouy])[yY]$/, "$1i");
  stem = applyLongest(stem, step2, (_suffix, start) => start >= r1);
  stem = applyLongest(stem, step3, (suffix, start) => start >= (suffix === "ative" ? Math.max(r1, r2) : r1));
  stem = applyLongest(stem, step4, (_suffix, start) => start >= r2);
  return withoutFinalLetter(stem, r1, r2).replaceAll("Y", "y");
}

/** Where the region after the first vowel and consonant from a position begins; the word's length when there is none. */
function regionEnd(word: string, from: number): number {
  region.lastIndex = from;
  return region.test(word) ? region.lastIndex : word.length;
}

function withoutPlural(word: string): string {
  if (word.endsWith("sses")) return word.slice(0, -2);
  if (word.endsWith("ied") || word.endsWith("ies")) return word.slice(0, word.length > 4 ? -2 : -1);
  if (word.endsWith("us") || word.endsWith("ss") || !word.endsWith("s")) return word;
  // The vowel may not stand right before the s: gas and this stay, gaps loses it.
  return vowel.test(word.slice(0, -2)) ? word.slice(0, -1) : word;
}

function withoutPastOrProgressive(word: string, r1: number): string {
  const suffix = /(?:eedly|eed|ingly|edly|ing|ed)$/.exec(word)?.[0];
  if (suffix === undefined) return word;
  const base = word.slice(0, -suffix.length);
  if (suffix.startsWith("eed")) return base.length < r1 || /^(?:succ|proc|exc)$/.test(base) ? word : `${base}ee`;
  if (suffix === "ing") {
    if (/^[^aeiouy]y$/.test(base)) return `${base[0]}ie`;
    if (/^(?:even|cann|inn|earr|herr|out)$/.test(base)) return word;
  }
  if (!vowel.test(base)) return word;
  if (/(?:at|bl|iz)$/.test(base)) return `${base}e`;
  if (/(?:bb|dd|ff|gg|mm|nn|pp|rr|tt)$/.test(base)) return /^[aeo]..$/.test(base) ? base : base.slice(0, -1);
  return base.length === r1 && shortSyllable.test(base) ? `${base}e` : base;
}

function applyLongest(word: string, list: readonly Rule[], inRegion: (suffix: string, start: number) => boolean): string {
  for (const [suffix, replacement, before] of list) {
    if (!word.endsWith(suffix)) continue;
    const base = word.slice(0, -suffix.length);
    return inRegion(suffix, base.length) && (before === undefined || before.test(base)) ? base + replacement : word;
  }
  return word;
}

function withoutFinalLetter(word: string, r1: number, r2: number): string {
  const base = word.slice(0, -1);
  if (word.endsWith("e")) return base.length >= r2 || (base.length >= r1 && !shortSyllable.test(base)) ? base : word;
  return word.endsWith("ll") && base.length >= r2 ? base : word;
}
