import type { Answer, AnswerRequest, Answerer, Citation, OnAnswerEvent } from "../../runtime/llm/answerer.js";
import { NOT_ANSWERED } from "../../runtime/llm/extractive/extractive-answerer.js";
import { NO_USAGE } from "../../runtime/llm/language-model.js";

/** Answers a question part by part, each in a paragraph; says so once when the documents answer none of them. */
export async function answerParts(answerer: Answerer, parts: readonly string[], request: AnswerRequest, onEvent: OnAnswerEvent): Promise<Answer> {
  const citations: Citation[] = [];
  const paragraphs: string[] = [];
  for (const question of parts) {
    const answer = await answerer.answer({ ...request, question, alone: question });
    if (answer.text === NOT_ANSWERED) continue;
    const shift = citations.length;
    const paragraph = answer.text.replace(/\[(\d+)\]/g, (_, index: string) => `[${Number(index) + shift}]`);
    const own = answer.citations.map((citation) => ({ ...citation, index: citation.index + shift }));
    // What one part quotes, another one need not repeat.
    if (own.length > 0 && own.every((one) => citations.some((other) => isSame(one, other)))) continue;
    onEvent({ text: paragraphs.length === 0 ? paragraph : `\n\n${paragraph}` });
    for (const citation of own) onEvent({ citation });
    paragraphs.push(paragraph);
    citations.push(...own);
  }
  if (paragraphs.length === 0) onEvent({ text: NOT_ANSWERED });
  return { text: paragraphs.length === 0 ? NOT_ANSWERED : paragraphs.join("\n\n"), citations, usage: NO_USAGE, model: answerer.model };
}

function isSame(a: Citation, b: Citation): boolean {
  return a.chunkId === b.chunkId && a.start === b.start && a.end === b.end;
}
