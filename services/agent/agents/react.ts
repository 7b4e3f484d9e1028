import { END, START, StateGraph } from "@langchain/langgraph";
import { asksSomething } from "../asks.js";
import { actNode } from "../nodes/act.js";
import { answerNode } from "../nodes/answer.js";
import { recorded } from "../nodes/recorded.js";
import { retrieveNode } from "../nodes/retrieve.js";
import { rewriteNode } from "../nodes/rewrite.js";
import { concludeNode, thinkNode } from "../nodes/think.js";
import { REWRITE_PROMPTS } from "../rewriting/strategies.js";
import { RunState, type RunStateValue } from "../state.js";
import { searchKnowledgeBase } from "../tools/search-knowledge-base.js";
import { type AgentDeps, type AgentKind, compiled } from "./agent-kind.js";

/** Times that the model may think and act before it must answer. */
export const MAX_ROUNDS = 10;

/**
 * Thinks, acts and observes, at most 10 rounds, then finalizes. The model calls the tools; the built-in one, also where it stands
 * in for another, calls none, and searches once with the question.
 */
export const reactAgent: AgentKind = {
  type: "react",
  description: "Lets the model search and use tools in up to 10 rounds until it can answer.",
  version: "react-1",
  prompts: ["react", "react-conclude", ...REWRITE_PROMPTS, "answer"],
  callsTools: true,
  build: (deps) => {
    const tools = [searchKnowledgeBase(deps.rag), ...deps.tools];
    return new StateGraph(RunState)
      .addNode(...recorded("think", thinkNode(deps, tools)))
      .addNode(...recorded("act", actNode(tools)))
      .addNode(...recorded("finalize", concludeNode(deps)))
      .addNode(...recorded("rewrite", rewriteNode(deps)))
      .addNode(...recorded("search", retrieveNode(deps)))
      .addNode(...recorded("quote", answerNode(deps)))
      .addConditionalEdges(START, (state) => (thinks(deps, state) ? next(state) : "rewrite"), ["think", "finalize", "rewrite"])
      .addConditionalEdges("think", (state) => (state.reply !== null ? END : thinks(deps, state) ? "act" : "rewrite"), ["act", "rewrite", END])
      .addConditionalEdges("act", next, ["think", "finalize"])
      .addConditionalEdges("finalize", ({ reply }) => (reply === null ? "rewrite" : END), ["rewrite", END])
      .addConditionalEdges("rewrite", ({ question }) => (asksSomething(question) ? "search" : "quote"), ["search", "quote"])
      .addEdge("search", "quote")
      .addEdge("quote", END)
      .compile(compiled(deps));
  },
};

function thinks({ models }: AgentDeps, { settings }: RunStateValue): boolean {
  return models.languageModel(settings.model) !== undefined;
}

function next(state: RunStateValue) {
  return rounds(state) < MAX_ROUNDS ? "think" : "finalize";
}

function rounds({ work }: RunStateValue): number {
  return work.filter((message) => message.type === "ai").length;
}
