import type { Command } from "@langchain/langgraph";
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type { AgentGraph } from "./agents/agent-kind.js";
import { endOf, type Interrupt, interruptedResult, resultOf, type RunEvent } from "./run.js";
import { threadConfig } from "./run-saver.js";
import type { RunSettings } from "./settings.js";
import type { NodeEvent, RunAnswer, RunStateUpdate } from "./state.js";
import { summaryOf } from "./step-summary.js";

/** Where a graph is run. */
export interface GraphRun {
  readonly graph: AgentGraph;
  readonly threadId: string;
  readonly settings: RunSettings;
  readonly signal: AbortSignal;
  /** False where only the result counts: nodes then tell nobody what they do. */
  readonly isFollowed?: boolean;
  /** The thread's newest checkpoint, where it was read since the thread's lease is held. */
  readonly head?: CheckpointTuple | undefined;
}

/**
 * Runs a graph from an input, or with null from where its thread is, to its answer or to what it asks. Every step is durable
 * before the next one.
 */
export async function* runGraph(run: GraphRun, input: RunStateUpdate | Command | null): AsyncGenerator<RunEvent> {
  const stream = await run.graph.stream(input, {
    configurable: threadConfig(run.threadId, run.head),
    durability: "sync",
    streamMode: ["updates", "custom"],
    ...(run.isFollowed === false && { writer: () => {} }),
    signal: run.signal,
  });
  let answer: RunAnswer | null = null;
  let interrupts: Interrupt[] = [];
  for await (const [mode, chunk] of stream) {
    if (mode === "custom") {
      yield chunk as NodeEvent;
      continue;
    }
    for (const [name, update] of Object.entries(chunk as Record<string, RunStateUpdate | Interrupt[]>)) {
      if (name === "__interrupt__") {
        interrupts = update as Interrupt[];
        continue;
      }
      const { reply, ...rest } = update as RunStateUpdate;
      answer = (reply as RunAnswer | undefined) ?? answer;
      yield { step: { name, summary: summaryOf(name, { reply, ...rest }) } };
    }
  }
  // An aborted stream may just end.
  run.signal.throwIfAborted();
  if (answer !== null) yield* endOf(resultOf(run, answer, false));
  else if (interrupts.length > 0) yield* endOf(interruptedResult(run, interrupts));
  else throw new Error(`the agent ${run.settings.agent} ended without an answer`);
}
