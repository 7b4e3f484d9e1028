import type { JsonObject } from "@bufbuild/protobuf";
import type { AIMessage, BaseMessage } from "@langchain/core/messages";
import { type CompiledStateGraph, END, START, StateGraph } from "@langchain/langgraph";
import { CitationBinder } from "../../../runtime/llm/citation-binder.js";
import { addUsage, NO_USAGE } from "../../../runtime/llm/language-model.js";
import type { Passage } from "../../../runtime/llm/answerer.js";
import { answeredBy } from "../answered-by.js";
import { answerMessage } from "../conversation.js";
import { recorded } from "../nodes/recorded.js";
import { retrieve } from "../nodes/retrieve.js";
import type { RunSettings } from "../settings.js";
import { type Node, RunState } from "../state.js";
import type { Tool } from "../tools/tool.js";
import { type AgentDeps, type AgentKind, compiled } from "./agent-kind.js";

/** What a registered graph works with. */
export interface GraphTools {
  /** The passages of a run's collection for a query, best first; those left in the state's `passages` can be cited as [1], [2]. */
  search(query: string, settings: RunSettings, signal?: AbortSignal): Promise<Passage[]>;
  /** The registered tools. */
  readonly tools: readonly Tool[];
}

/** A graph that takes `messages` (and `question` and `settings`, where its state has them) and adds its answer to them. */
// The nodes and channels are the author's own.
export type RegisteredGraph = CompiledStateGraph<any, any, any>;

/** An agent that a file describes. */
export interface GraphAgent {
  readonly type: string;
  readonly description: string;
  readonly configSchema?: JsonObject | undefined;
  /** Changes when the file does. */
  readonly version: string;
  graph(tools: GraphTools): { compile(): RegisteredGraph };
}

/**
 * Runs somebody's graph as an agent like the others: each of its steps is a checkpoint of the thread, its last message is the
 * answer, and the passages that it leaves in the state are what the answer cites.
 */
export function graphAgent({ type, description, configSchema, version, graph }: GraphAgent): AgentKind {
  return {
    type,
    description,
    configSchema,
    version,
    prompts: [],
    build: (deps) => {
      const search = (query: string, settings: RunSettings, signal?: AbortSignal) => retrieve(deps.rag, query, settings, signal);
      return new StateGraph(RunState)
        .addNode(...recorded("read", readQuestion))
        .addNode("agent", graph({ search, tools: deps.tools }).compile())
        .addNode(...recorded("answer", lastMessage(deps)))
        .addEdge(START, "read")
        .addEdge("read", "agent")
        .addEdge("agent", "answer")
        .addEdge("answer", END)
        .compile(compiled(deps));
    },
  };
}

const readQuestion: Node = async ({ messages }) => ({ question: messages.at(-1)?.text.trim() ?? "" });

/** Makes the graph's last message the answer, in the place of that message. */
function lastMessage(deps: Pick<AgentDeps, "models" | "clock" | "version">): Node {
  return async (state, { writer }) => {
    const { messages, passages, settings } = state;
    const last = messages.at(-1);
    if (last === undefined || last.type !== "ai") throw new Error(`the graph of the agent ${settings.agent} ended without an answer`);
    const binder = new CitationBinder(passages, (event) => writer?.(event));
    binder.write(last.text);
    binder.end();
    const asked = messages.findLastIndex(({ type }) => type === "human");
    const usage = messages.slice(asked + 1).map(usageOf).reduce(addUsage, NO_USAGE);
    const reply = { text: binder.text, citations: binder.citations, ...answeredBy(deps, settings.model), usage };
    const message = answerMessage(state, reply, deps.clock);
    if (last.id !== undefined) message.id = last.id;
    return { messages: [message], reply };
  };
}

function usageOf(message: BaseMessage) {
  const { usage_metadata: usage } = message as AIMessage;
  return usage === undefined ? NO_USAGE : { inputTokens: usage.input_tokens, outputTokens: usage.output_tokens };
}
