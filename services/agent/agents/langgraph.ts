import { Code } from "@connectrpc/connect";
import { END, START, StateGraph } from "@langchain/langgraph";
import { hasCode } from "../../../runtime/errors.js";
import { asksSomething } from "../asks.js";
import { answerNode } from "../nodes/answer.js";
import { errorOf, guarded } from "../nodes/guard.js";
import { processInput } from "../nodes/process-input.js";
import { reasonNode } from "../nodes/reason.js";
import { recorded } from "../nodes/recorded.js";
import { retrievePartsNode } from "../nodes/retrieve-parts.js";
import { trustedRewriteNode } from "../nodes/rewrite.js";
import { REWRITE_PROMPTS } from "../rewriting/strategies.js";
import { RunState, type RunStateValue } from "../state.js";
import { type AgentKind, compiled } from "./agent-kind.js";

/** Times that a step may fail in a run before the run does. */
const MAX_FAILURES = 3;

/**
 * Reads the input, rewrites the question where that can be trusted, retrieves for it and its parts, reasons about complex
 * questions, and answers. A step that fails goes to the error handler, which finds a way around it or ends the run.
 */
export const langgraphAgent: AgentKind = {
  type: "langgraph",
  description: "Takes complex questions apart, retrieves for each part, reasons about them and answers.",
  version: "langgraph-1",
  prompts: [...REWRITE_PROMPTS, "reason", "answer"],
  build: (deps) =>
    new StateGraph(RunState)
      .addNode(...recorded("process_input", processInput))
      .addNode(...recorded("query_rewriting", guarded("query_rewriting", trustedRewriteNode(deps))))
      .addNode(...recorded("rag_retrieval", guarded("rag_retrieval", retrievePartsNode(deps))))
      .addNode(...recorded("reasoning", guarded("reasoning", reasonNode(deps))))
      .addNode(...recorded("generate_response", answerNode(deps)))
      .addNode(...recorded("handle_error", handleError))
      .addEdge(START, "process_input")
      .addEdge("process_input", "query_rewriting")
      .addConditionalEdges("query_rewriting", unlessFailed(afterRewriting), ["rag_retrieval", "generate_response", "handle_error"])
      .addConditionalEdges("rag_retrieval", unlessFailed(afterRetrieval), ["reasoning", "generate_response", "handle_error"])
      .addConditionalEdges("reasoning", unlessFailed(() => "generate_response"), ["generate_response", "handle_error"])
      .addConditionalEdges("handle_error", wayAround, ["rag_retrieval", "generate_response"])
      .addEdge("generate_response", END)
      .compile(compiled(deps)),
};

function afterRewriting({ question }: RunStateValue) {
  return asksSomething(question) ? "rag_retrieval" : "generate_response";
}

function afterRetrieval({ parts }: RunStateValue) {
  return parts.length > 0 ? "reasoning" : "generate_response";
}

function unlessFailed<Next extends string>(next: (state: RunStateValue) => Next) {
  return (state: RunStateValue) => (state.failure === null ? next(state) : "handle_error");
}

/** Ends the run with the error of a step that it cannot do without: retrieval, unless a second try may help. */
async function handleError({ failure, messages }: RunStateValue) {
  if (failure === null) throw new Error("the error handler was called without an error");
  const error = errorOf(failure);
  const canRetry = hasCode(error, Code.Unavailable) && failure.count < MAX_FAILURES;
  if (failure.node === "rag_retrieval" && !canRetry) throw error;
  // Without a rewrite the question is what was said.
  return failure.node === "query_rewriting" ? { question: messages.at(-1)?.text.trim() ?? "" } : {};
}

function wayAround(state: RunStateValue) {
  if (state.failure?.node === "reasoning") return "generate_response";
  return afterRewriting(state);
}
