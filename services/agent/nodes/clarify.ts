import type { AgentDeps } from "../agents/agent-kind.js";
import { answerMessage } from "../conversation.js";
import { asText } from "../logical/clarification.js";
import type { Node } from "../state.js";

/** Asks back, with questions that can be asked instead. */
export function clarifyNode({ clock }: Pick<AgentDeps, "clock">): Node {
  return async (state, { writer }) => {
    const { analysis, settings, usage } = state;
    if (!analysis?.clarification) throw new Error("there is nothing to ask back");
    const text = asText(analysis.clarification);
    writer?.({ text });
    const reply = { text, citations: [], model: settings.model, usage, analysis };
    return { messages: [answerMessage(state, reply, clock)], reply };
  };
}
