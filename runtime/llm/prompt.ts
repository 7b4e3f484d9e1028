import type { BaseMessageLike } from "@langchain/core/messages";
import type { AnswerRequest, Passage } from "./answerer.js";
import { BUILT_IN_PROMPTS } from "./prompts.js";

/** The messages that ask a model to answer from passages, numbered from 1. */
export function answerPrompt({ question, history = [], passages, notes = "", instructions = "", prompt = BUILT_IN_PROMPTS.answer }: AnswerRequest): BaseMessageLike[] {
  const material = passages.length === 0 ? "(no passages were found)" : passages.map((passage, i) => numberedPassage(passage, i + 1)).join("\n");
  const worked = notes === "" ? "" : `\n\n<notes>\n${notes}\n</notes>\nThe notes are your own preparation; check them against the passages.`;
  return [
    { role: "system", content: `${prompt.text}${callerInstructions(instructions)}\n\n<passages>\n${material}\n</passages>${worked}` },
    ...history,
    { role: "user", content: question },
  ];
}

/** What the caller asks of an answer's manner, to stand behind the rules; nothing where it asks nothing. */
export function callerInstructions(text: string): string {
  return text === "" ? "" : `\n\nAs far as these rules allow, also follow what the application that asks says:\n<application>\n${text}\n</application>`;
}

/** A passage with the number that answers cite it by. */
export function numberedPassage(passage: Passage, number: number): string {
  const heading = passage.headings.length === 0 ? "" : ` under="${attribute(passage.headings.join(" > "))}"`;
  return `<passage number="${number}" source="${attribute(passage.source)}"${heading}>\n${withoutTags(passage.text)}\n</passage>`;
}

function attribute(value: string): string {
  return value.replace(/["<>\n]/g, " ").slice(0, 200);
}

/** A passage cannot end itself: a text that says </passage> must not become a message to the model. */
function withoutTags(text: string): string {
  return text.replace(/<(\/?\s*passages?)\b/gi, "‹$1");
}
