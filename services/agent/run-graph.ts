import type { AgentGraph } from "./agents/agent-kind.js";
import { resultOf, type RunEvent } from "./run.js";
import type { RunSettings } from "./settings.js";
import type { NodeEvent, RunAnswer, RunStateUpdate } from "./state.js";
import { summaryOf } from "./step-summary.js";

/** Where a graph is run. */
export interface GraphRun {
  readonly graph: AgentGraph;
  readonly threadId: string;
  readonly settings: RunSettings;
  readonly signal: AbortSignal;
}

/** Runs a graph from an input, or with null from where its thread is, to its answer. Every step is durable before the next one. */
export async function* runGraph(run: GraphRun, input: RunStateUpdate | null): AsyncGenerator<RunEvent> {
  const stream = await run.graph.stream(input, {
    configurable: { thread_id: run.threadId },
    durability: "sync",
    streamMode: ["updates", "custom"],
    signal: run.signal,
  });
  let answer: RunAnswer | null = null;
  for await (const [mode, chunk] of stream) {
    if (mode === "custom") {
      yield chunk as NodeEvent;
      continue;
    }
    for (const [name, update] of Object.entries(chunk as Record<string, RunStateUpdate>)) {
      answer = (update.reply as RunAnswer | undefined) ?? answer;
      yield { step: { name, summary: summaryOf(name, update) } };
    }
  }
  // An aborted stream may just end.
  run.signal.throwIfAborted();
  if (answer === null) throw new Error(`the agent ${run.settings.agent} ended without an answer`);
  yield { result: resultOf(run, answer, false) };
}
