import { z } from "zod";
import { addUsage, type LanguageModel, NO_USAGE, type Usage } from "../../../runtime/llm/language-model.js";
import type { Prompt } from "../../../runtime/llm/prompts.js";
import { rewriteConfidence } from "../rewrite-confidence.js";
import { type Analysis, reduction } from "./analysis.js";

const MAX_TOKENS = 200;
const replySchema = z.object({
  query_text: z.string().trim().min(1).max(1_000),
  mode: z.enum(["hybrid", "semantic", "keyword"]),
  domain: z.enum(["general", "temporal", "quantitative"]),
});

/**
 * Lets a model improve what the rules found. What it says counts only where it can be checked: a query in other words
 * than the question's is not taken, and a reply that is not as asked for, or a model that fails, changes nothing.
 */
export async function refine(
  analysis: Analysis,
  question: string,
  model: LanguageModel,
  prompt: Prompt,
  signal: AbortSignal | undefined,
): Promise<{ analysis: Analysis; usage: Usage }> {
  let usage: Usage = NO_USAGE;
  try {
    const reply = await model.reply({
      messages: [
        { role: "system", content: prompt.text },
        { role: "user", content: question },
      ],
      prompt: prompt.id,
      temperature: 0,
      maxTokens: MAX_TOKENS,
      signal,
    });
    usage = addUsage(usage, reply.usage);
    const { query_text, mode, domain } = replySchema.parse(JSON.parse(/\{[^]*\}/.exec(reply.text)?.[0] ?? ""));
    if (rewriteConfidence(query_text, question, []) < 1) return { analysis: { ...analysis, domain }, usage };
    const directive = { ...analysis.directive, queryText: query_text, mode };
    return { analysis: { ...analysis, domain, directive, tokenReduction: reduction(question, query_text) }, usage };
  } catch {
    signal?.throwIfAborted();
    return { analysis, usage };
  }
}
