import { splitSentences } from "../../runtime/llm/sentences.js";
import { judgedDocuments } from "../judged-collection.js";

/** Sentences of a document that is made: about 20 chunks of 1,000 characters. */
const SENTENCES = 130;

/** Numbers from 0 to 1 that are the same in every run (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * Texts of sentences of the judged collection in random order: words are as frequent and as long as in a manual, and no two
 * chunks are alike.
 */
export function* madeTexts(seed = 1): Generator<string> {
  const next = randomNumbers(seed);
  const sentences = judgedDocuments().flatMap(({ text }) =>
    splitSentences(text)
      .filter(({ kind }) => kind === "prose" || kind === "item")
      .map(({ start, end }) => text.slice(start, end)),
  );
  for (;;) {
    const chosen = Array.from({ length: SENTENCES }, () => sentences[Math.floor(next() * sentences.length)]!);
    const paragraphs = [];
    for (let at = 0; at < chosen.length; at += 5) paragraphs.push(chosen.slice(at, at + 5).join(" "));
    yield paragraphs.join("\n\n");
  }
}
