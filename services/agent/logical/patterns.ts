/** What kind of values an answer is made of. */
export type Domain = "general" | "temporal" | "quantitative";

/** How a question asks. */
export type PatternType = "comparative" | "causal" | "procedural" | "spatial" | "trend" | "temporal" | "quantitative" | "definition" | "lookup";

/** What the answer is to do. */
export type Intent = "compare" | "explain" | "instruct" | "locate" | "trace" | "date" | "count" | "define" | "find";

export interface Pattern {
  readonly type: PatternType;
  readonly domain: Domain;
  readonly intent: Intent;
  /** How surely a question that matches is one of this kind, 0 to 1. */
  readonly confidence: number;
}

interface Rule extends Pattern {
  readonly matches: RegExp;
}

/** The first that matches decides; narrower ones come first. */
const RULES: readonly Rule[] = [
  {
    type: "comparative",
    domain: "general",
    intent: "compare",
    confidence: 0.9,
    matches: /\b(?:differences?|distinctions?) (?:between|of|from)\b|\bcompar(?:e|es|ed|ing|ison)\b|\b(?:versus|vs\.?)(?:\s|$)|\b(?:better|worse|faster|slower|cheaper|larger|smaller|safer|older|newer) than\b|^(?:which|what)(?: one)? is (?:better|worse|faster|slower|cheaper|larger|smaller|safer|older|newer)\b|^(?:is|are) .{2,60} (?:better|worse|faster|slower|cheaper|larger|smaller|safer|older|newer)\s*\??$/i,
  },
  {
    type: "trend",
    domain: "temporal",
    intent: "trace",
    confidence: 0.85,
    matches: /\btrends?\b|\bover (?:time|the (?:years|months|weeks|days))\b|\b(?:growth|decline|evolution) of\b|\bhow (?:has|have|did) .+ (?:changed?|grown?|evolved?|developed?)\b/i,
  },
  {
    type: "quantitative",
    domain: "quantitative",
    intent: "count",
    confidence: 0.9,
    matches: /\bhow (?:many|much|large|big|long|fast|often|high|deep|far)\b|\b(?:number|count|amount|average|mean|median|sum|total|percentage|share|size|maximum|minimum) of\b|\b(?:more|less|fewer|greater|higher|lower) than \d|\bat (?:least|most) \d|\bbetween \d+ and \d+\b(?!\s*\?*\s*$)/i,
  },
  {
    type: "temporal",
    domain: "temporal",
    intent: "date",
    confidence: 0.85,
    matches: /^(?:since )?when\b|\bwhat (?:year|date|day|month|time)\b|\b(?:before|after|since|until|during|between) (?:the )?(?:\d{4}|january|february|march|april|may|june|july|august|september|october|november|december)\b|\b(?:latest|newest|oldest|most recent|yesterday|last (?:year|month|week))\b/i,
  },
  {
    type: "causal",
    domain: "general",
    intent: "explain",
    confidence: 0.85,
    matches: /^why\b|\bwhat (?:causes?|caused|makes|made|happens? (?:if|when))\b|\b(?:reasons?|causes?|effects?|consequences?|impact) (?:for|of|on|behind)\b|\b(?:leads?|led) to\b/i,
  },
  {
    type: "procedural",
    domain: "general",
    intent: "instruct",
    confidence: 0.85,
    matches: /^how (?:do|does|can|could|should|would|to)\b|\b(?:steps?|instructions?|procedure|way) (?:to|for)\b|^(?:configure|install|create|enable|disable|set up|build|run|use)\b/i,
  },
  {
    type: "spatial",
    domain: "general",
    intent: "locate",
    confidence: 0.85,
    matches: /^where\b|\b(?:located|location of|near|nearby|in which (?:country|city|region|folder|file|room))\b/i,
  },
  {
    type: "definition",
    domain: "general",
    intent: "define",
    confidence: 0.85,
    matches: /^what (?:is|are|was|were|does .+ mean)\b|\b(?:define|definition of|meaning of)\b|^(?:who|which) (?:is|are|was)\b/i,
  },
];

const LOOKUP: Pattern = { type: "lookup", domain: "general", intent: "find", confidence: 0.6 };

/** How a question asks, and for what kind of values. */
export function matchPattern(question: string): Pattern {
  const text = question.trim().replace(/^(?:please|and|but|so|tell me|can you tell me|do you know)[\s,]+/i, "");
  const rule = RULES.find(({ matches }) => matches.test(text));
  if (rule === undefined) return LOOKUP;
  const { type, domain, intent, confidence } = rule;
  return { type, domain, intent, confidence };
}
