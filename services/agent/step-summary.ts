import type { AIMessage } from "@langchain/core/messages";
import type { Analysis } from "./logical/analysis.js";
import type { RunAnswer, RunStateUpdate } from "./state.js";

/** What came of a step, for people to read. */
export function summaryOf(name: string, update: RunStateUpdate): string {
  if (update.failure) return "Failed.";
  switch (name) {
    case "process_input": {
      const parts = (update.parts as string[] | undefined) ?? [];
      return parts.length > 1 ? `Asks: ${parts.join(" ")}` : "Read the question.";
    }
    case "rewrite":
    case "query_rewriting":
      return `Understood as: ${String(update.question ?? "")}`;
    case "retrieve":
    case "rag_retrieval":
    case "search":
      return `Found ${counted((update.passages as unknown[] | undefined)?.length ?? 0, "passage")}.`;
    case "think":
      if ((update.reply as RunAnswer | undefined)?.toolCalls !== undefined) return "Asks the caller to use its tools.";
      return update.reply === undefined ? `Calls ${callsOf(update).join(", ")}.` : "Wrote the answer.";
    case "analyse": {
      const analysis = update.analysis as Analysis | undefined;
      return analysis === undefined ? "Analysed the question." : `A ${analysis.type} question; searches for: ${analysis.directive.queryText}`;
    }
    case "clarify":
      return "Asks back.";
    case "act":
      return `Observed ${counted((update.work as unknown[] | undefined)?.length ?? 0, "result")}.`;
    case "answer":
    case "finalize":
    case "quote":
    case "generate_response":
      return "Wrote the answer.";
    case "reasoning":
      return "Worked out what the passages say.";
    case "handle_error":
      return "Found a way around the failure.";
    default:
      return `Did ${name}.`;
  }
}

function counted(count: number, noun: string): string {
  return `${count === 0 ? "no" : count} ${noun}${count === 1 ? "" : "s"}`;
}

function callsOf(update: RunStateUpdate): string[] {
  const [message] = (update.work ?? []) as AIMessage[];
  return (message?.tool_calls ?? []).map(({ name }) => name);
}
