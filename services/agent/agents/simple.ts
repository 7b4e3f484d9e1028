import { END, START, StateGraph } from "@langchain/langgraph";
import { asksSomething } from "../asks.js";
import { answerNode } from "../nodes/answer.js";
import { recorded } from "../nodes/recorded.js";
import { retrieveNode } from "../nodes/retrieve.js";
import { rewriteNode } from "../nodes/rewrite.js";
import { REWRITE_PROMPTS } from "../rewriting/strategies.js";
import { RunState } from "../state.js";
import { type AgentKind, compiled } from "./agent-kind.js";

/** Rewrites the question, retrieves when the message asks something, and answers with the last 20 messages. */
export const simpleAgent: AgentKind = {
  type: "simple",
  description: "Rewrites the question by the conversation, retrieves passages for it and answers from them.",
  version: "simple-1",
  prompts: [...REWRITE_PROMPTS, "answer"],
  build: (deps) =>
    new StateGraph(RunState)
      .addNode(...recorded("rewrite", rewriteNode(deps)))
      .addNode(...recorded("retrieve", retrieveNode(deps)))
      .addNode(...recorded("answer", answerNode(deps)))
      .addEdge(START, "rewrite")
      .addConditionalEdges("rewrite", ({ question }) => (asksSomething(question) ? "retrieve" : "answer"), ["retrieve", "answer"])
      .addEdge("retrieve", "answer")
      .addEdge("answer", END)
      .compile(compiled(deps)),
};
