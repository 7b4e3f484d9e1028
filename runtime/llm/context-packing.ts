import type { Passage } from "./answerer.js";
import { splitSentences } from "./sentences.js";

/** UTF-8 bytes that a token stands for at least: English has about 4, code 3, Chinese 3 a character. */
const BYTES_PER_TOKEN = 3;
/** Tokens of a passage's number, source and headings, about. */
const FRAME_TOKENS = 40;
/** Shorter beginnings of a passage are not worth their place. */
const LEAST_TOKENS = 60;

/** Tokens that a text takes at most, by its bytes: models count differently, and none is asked. */
export function tokensOf(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN);
}

/**
 * The best passages that fit into a budget of tokens, in their order. The first that does not fit whole is cut behind its last
 * sentence that does; what comes after it is left out. Numbers and offsets stay what they are.
 */
export function packPassages(passages: readonly Passage[], budget: number): Passage[] {
  const packed: Passage[] = [];
  let left = budget;
  for (const passage of passages) {
    const room = left - FRAME_TOKENS;
    const tokens = tokensOf(passage.text);
    if (tokens <= room) {
      packed.push(passage);
      left = room - tokens;
      continue;
    }
    const text = room < LEAST_TOKENS ? "" : beginningOf(passage.text, room);
    if (text !== "") packed.push({ ...passage, text });
    break;
  }
  return packed;
}

function beginningOf(text: string, tokens: number): string {
  let end = 0;
  for (const sentence of splitSentences(text)) {
    if (tokensOf(text.slice(0, sentence.end)) > tokens) break;
    end = sentence.end;
  }
  return text.slice(0, end);
}
