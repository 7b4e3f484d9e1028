import type { AgentDeps } from "../agents/agent-kind.js";
import { answeredBy } from "../answered-by.js";
import { answerMessage } from "../conversation.js";
import { asText } from "../logical/clarification.js";
import type { Node } from "../state.js";

/** Asks back, with questions that can be asked instead. */
export function clarifyNode(deps: Pick<AgentDeps, "models" | "clock" | "version">): Node {
  return async (state, { writer }) => {
    const { analysis, settings, usage } = state;
    if (!analysis?.clarification) throw new Error("there is nothing to ask back");
    const text = asText(analysis.clarification);
    writer?.({ text });
    const reply = { text, citations: [], ...answeredBy(deps, settings.model), usage, analysis };
    return { messages: [answerMessage(state, reply, deps.clock)], reply };
  };
}
