import { END, START, StateGraph } from "@langchain/langgraph";
import { asksSomething } from "../asks.js";
import { analyseNode } from "../nodes/analyse.js";
import { answerNode } from "../nodes/answer.js";
import { clarifyNode } from "../nodes/clarify.js";
import { followDirectiveNode } from "../nodes/follow-directive.js";
import { recorded } from "../nodes/recorded.js";
import { rewriteNode } from "../nodes/rewrite.js";
import { REWRITE_PROMPTS } from "../rewriting/strategies.js";
import { RunState, type RunStateValue } from "../state.js";
import { type AgentKind, compiled } from "./agent-kind.js";

/**
 * Matches the question's pattern, extracts its parameters, checks its constraints and emits a search directive; asks back
 * what is unclear, else searches as the directive says and answers.
 */
export const logicalAgent: AgentKind = {
  type: "logical",
  description: "Analyses what a question asks, asks back when it is unclear, and searches for just what it needs.",
  version: "logical-1",
  prompts: [...REWRITE_PROMPTS, "logical", "answer"],
  build: (deps) =>
    new StateGraph(RunState)
      .addNode(...recorded("rewrite", rewriteNode(deps)))
      .addNode(...recorded("analyse", analyseNode(deps)))
      .addNode(...recorded("clarify", clarifyNode(deps)))
      .addNode(...recorded("search", followDirectiveNode(deps)))
      .addNode(...recorded("answer", answerNode(deps)))
      .addEdge(START, "rewrite")
      .addConditionalEdges("rewrite", ({ question }) => (asksSomething(question) ? "analyse" : "answer"), ["analyse", "answer"])
      .addConditionalEdges("analyse", proceedOrClarify, ["search", "clarify"])
      .addEdge("search", "answer")
      .addEdge("clarify", END)
      .addEdge("answer", END)
      .compile(compiled(deps)),
};

function proceedOrClarify({ analysis }: RunStateValue) {
  return analysis?.clarification ? "clarify" : "search";
}
