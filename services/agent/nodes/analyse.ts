import { addUsage } from "../../../runtime/llm/language-model.js";
import type { AgentDeps } from "../agents/agent-kind.js";
import { analyse } from "../logical/analysis.js";
import { refine } from "../logical/llm-analysis.js";
import type { Node } from "../state.js";

/** Analyses the question by rules, and lets the model refine that where the request allows it. */
export function analyseNode({ models, prompts }: Pick<AgentDeps, "models" | "prompts">): Node {
  return async ({ question, settings, usage }, { signal }) => {
    const analysis = analyse(question);
    const model = settings.logicalLlm ? models.languageModel(settings.model) : undefined;
    if (model === undefined || analysis.clarification !== null) return { analysis };
    const refined = await refine(analysis, question, model, prompts.logical, signal);
    return { analysis: refined.analysis, usage: addUsage(usage, refined.usage) };
  };
}
