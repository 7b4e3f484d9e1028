const ASKS = "how|why|what|when|where|who|which|whose|whom|is|are|was|were|do|does|did|can|could|should|will|would|has|have|may|must";
/** Between two questions in one sentence. */
const JOINT = new RegExp(`(?:,?\\s+and\\s+(?:also\\s+)?|;\\s*|,\\s+)(?=(?:${ASKS})\\b)`, "i");
const COMPARED =
  /\b(?:(?:difference|differences|distinction|compare|comparison|choose|choice)\b.*?\b(?:between|of)?\s*)(?:the\s+)?([^,?]{2,60}?)\s+(?:and|with|to|versus|vs\.?|or)\s+(?:the\s+)?([^,?]{2,60}?)\s*\??$/i;
const VERSUS = /^(.{2,60}?)\s+(?:versus|vs\.?|compared (?:to|with))\s+(.{2,60}?)\s*\??$/i;
/** Words from which on a single question counts as complex. */
const LONG = 25;
const MAX_PARTS = 4;

/**
 * What a question asks, one by one: two questions in one message, or the two sides of a comparison. Empty for a question
 * that asks one thing.
 */
export function partsOf(question: string): string[] {
  const sentences = question
    .split(/(?<=\?)\s+/)
    .map((part) => part.trim())
    .filter((part) => part !== "");
  const parts = sentences.flatMap((sentence) => sentence.split(JOINT)).map(asQuestion);
  if (parts.length > 1) return [...new Set(parts)].slice(0, MAX_PARTS);
  const [, left, right] = VERSUS.exec(question) ?? COMPARED.exec(question) ?? [];
  if (left === undefined || right === undefined) return [];
  return [left, right].map((side) => `What is ${side.replace(/^(?:between|of|is better,?)\s+/i, "").trim()}?`);
}

/** Whether an answer takes more than finding a passage. */
export function isComplex(question: string): boolean {
  return partsOf(question).length > 1 || question.trim().split(/\s+/).length >= LONG;
}

function asQuestion(part: string): string {
  return `${part.trim().replace(/[?.,;\s]+$/, "")}?`;
}
