import type { PromptName } from "../../../runtime/llm/prompts.js";

/** How a question is rewritten before it is searched for. */
export const REWRITE_STRATEGIES = ["contextual", "hyde", "decomposition", "few_shot", "chain_of_thought", "chain_of_density", "persona", "none"] as const;
export type RewriteStrategy = (typeof REWRITE_STRATEGIES)[number];

/** A question as it is understood, and what is searched for. */
export interface Rewritten {
  /** Can be understood without the conversation. */
  readonly question: string;
  /** The question first; never empty. */
  readonly queries: readonly string[];
}

/** A strategy that a language model carries out. */
export interface ModelStrategy {
  readonly prompt: PromptName;
  /** The most tokens that the model may write. */
  readonly maxTokens: number;
  /** Whether its reply is a line, so that several can be asked for in one call. */
  readonly mayJoin?: boolean;
  /** What a reply comes to; undefined when it is of no use. */
  read(reply: string, said: string): Rewritten | undefined;
}

/** A rewrite that is longer than what was said by more characters than this is an essay. */
const MAX_GROWTH = 1_000;
const MAX_PARTS = 4;
/** Longest passage that is searched for, in characters. */
const MAX_PASSAGE = 2_000;

export const modelStrategies: Readonly<Record<Exclude<RewriteStrategy, "none">, ModelStrategy>> = {
  contextual: {
    prompt: "rewrite-contextual",
    maxTokens: 200,
    mayJoin: true,
    read: (reply, said) => single(unquoted(reply), said),
  },
  // Hypothetical document embeddings (Gao et al. 2022): a made-up answer lies nearer to the passages than the question does.
  hyde: {
    prompt: "rewrite-hyde",
    maxTokens: 400,
    read(reply, said) {
      const [question, ...passage] = linesOf(reply);
      return withQueries(single(question, said), [passage.join("\n").slice(0, MAX_PASSAGE)]);
    },
  },
  decomposition: {
    prompt: "rewrite-decomposition",
    maxTokens: 400,
    read(reply, said) {
      const [question, ...parts] = linesOf(reply);
      return withQueries(single(question, said), parts.map((part) => part.replace(/^(?:[-*•]|\d+[.)])\s*/, "")).slice(0, MAX_PARTS));
    },
  },
  few_shot: {
    prompt: "rewrite-few-shot",
    maxTokens: 200,
    read: lastQuestion,
  },
  chain_of_thought: {
    prompt: "rewrite-chain-of-thought",
    maxTokens: 500,
    read: lastQuestion,
  },
  chain_of_density: {
    prompt: "rewrite-chain-of-density",
    maxTokens: 500,
    read: lastQuestion,
  },
  persona: {
    prompt: "rewrite-persona",
    maxTokens: 200,
    read: lastQuestion,
  },
};

/** What rewrites may be instructed with. */
export const REWRITE_PROMPTS: readonly PromptName[] = [...Object.values(modelStrategies).map(({ prompt }) => prompt), "rewrite-together"];

function lastQuestion(reply: string, said: string): Rewritten | undefined {
  const marked = reply.split(/^[ \t*_]*question[ \t*_]*:[ \t*_]*/im);
  return marked.length < 2 ? undefined : single(unquoted(linesOf(marked.at(-1) ?? "")[0] ?? ""), said);
}

function single(question: string | undefined, said: string): Rewritten | undefined {
  if (question === undefined || question === "" || question.length > said.length + MAX_GROWTH) return undefined;
  return { question, queries: [question] };
}

function withQueries(rewritten: Rewritten | undefined, further: readonly string[]): Rewritten | undefined {
  if (rewritten === undefined) return undefined;
  const distinct = new Set([rewritten.question, ...further.map((query) => query.trim()).filter((query) => query !== "")]);
  return { ...rewritten, queries: [...distinct] };
}

function linesOf(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
}

function unquoted(text: string): string {
  return text.trim().replace(/^["“](.*)["”]$/s, "$1");
}
