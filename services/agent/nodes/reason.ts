import { addUsage } from "../../../runtime/llm/language-model.js";
import { numberedPassage } from "../../../runtime/llm/prompt.js";
import type { AgentDeps } from "../agents/agent-kind.js";
import type { Node } from "../state.js";

const MAX_TOKENS = 600;

/** Has the model work a complex question out before it answers. The built-in one answers point by point instead. */
export function reasonNode({ models, prompts: { reason: prompt } }: Pick<AgentDeps, "models" | "prompts">): Node {
  return async ({ question, parts, passages, settings, usage }, { signal }) => {
    const model = models.languageModel(settings.model);
    if (model === undefined) return { notes: "" };
    const points = parts.map((part) => `- ${part}`).join("\n");
    const material = passages.map((passage, i) => numberedPassage(passage, i + 1)).join("\n");
    const reply = await model.reply({
      messages: [
        { role: "system", content: `${prompt.text}\n\n<passages>\n${material}\n</passages>` },
        { role: "user", content: `Question: ${question}\n\nPoints:\n${points}` },
      ],
      prompt: prompt.id,
      temperature: 0,
      maxTokens: MAX_TOKENS,
      signal,
    });
    return { notes: reply.text.trim(), usage: addUsage(usage, reply.usage) };
  };
}
