import type { Answer } from "../../../runtime/llm/answerer.js";
import { EXTRACTIVE_MODEL } from "../../../runtime/llm/extractive/extractive-answerer.js";
import { addUsage, NO_USAGE } from "../../../runtime/llm/language-model.js";
import type { AgentDeps } from "../agents/agent-kind.js";
import { answeredBy } from "../answered-by.js";
import { answerParts } from "../answer-parts.js";
import { asksSomething } from "../asks.js";
import { answerMessage } from "../conversation.js";
import type { Node, NodeEvent, RunStateValue } from "../state.js";

/** Messages that a model is shown, the question included. */
export const HISTORY_MESSAGES = 20;

/** What is said to a message that asks nothing when no language model is there to talk. */
export const SMALL_TALK_REPLY = "Ask a question about the documents, and the answer will quote and cite them.";

/** Writes the answer from the passages and the last messages, and adds it to the conversation. */
export function answerNode(deps: Pick<AgentDeps, "models" | "clock" | "prompts" | "version">): Node {
  return async (state, { writer, signal }) => {
    const tell = (event: NodeEvent) => writer?.(event);
    const answer = await write(state, tell, deps, signal);
    const reply = { ...answer, ...answeredBy(deps, answer.model), usage: addUsage(state.usage, answer.usage), analysis: state.analysis };
    return { messages: [answerMessage(state, reply, deps.clock)], reply };
  };
}

async function write(
  { messages, question, parts, notes, passages, settings }: RunStateValue,
  tell: (event: NodeEvent) => void,
  { models, prompts }: Pick<AgentDeps, "models" | "prompts">,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  if (settings.model === EXTRACTIVE_MODEL && !asksSomething(question)) {
    tell({ text: SMALL_TALK_REPLY });
    return { text: SMALL_TALK_REPLY, citations: [], usage: NO_USAGE, model: EXTRACTIVE_MODEL };
  }
  const answerer = models.answerer(settings.model);
  const request = {
    question: messages.at(-1)?.text ?? question,
    alone: question,
    history: messages.slice(-HISTORY_MESSAGES, -1),
    passages,
    notes,
    prompt: prompts.answer,
    instructions: settings.instructions,
    temperature: settings.temperature,
    maxTokens: settings.maxTokens,
    signal,
  };
  return settings.model === EXTRACTIVE_MODEL && parts.length > 1 ? answerParts(answerer, parts, request, tell) : answerer.answer(request, tell);
}
