import { randomUUID } from "node:crypto";
import type { JsonObject } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { AIMessage, type AIMessageChunk, type BaseMessageLike } from "@langchain/core/messages";
import { hasCode } from "../../../runtime/errors.js";
import { CitationBinder } from "../../../runtime/llm/citation-binder.js";
import { EXTRACTIVE_MODEL } from "../../../runtime/llm/extractive/extractive-answerer.js";
import { addUsage, type LanguageModel, type ToolDefinition } from "../../../runtime/llm/language-model.js";
import type { AgentDeps } from "../agents/agent-kind.js";
import { answeredBy } from "../answered-by.js";
import { answerMessage } from "../conversation.js";
import type { CallerTool } from "../settings.js";
import type { Node, NodeEvent, RunStateValue, ToolCallNotice } from "../state.js";
import type { Tool } from "../tools/tool.js";
import { callerInstructions } from "../../../runtime/llm/prompt.js";
import { HISTORY_MESSAGES } from "./answer.js";

/** Text that is held back until it is clear that it is an answer and not the beginning of a tool call, in characters. */
const HELD_BACK = 240;

/** Lets the model call tools, or answer. Its answer ends the run; its calls are left in `work`. */
export function thinkNode(deps: TalkDeps, tools: readonly Tool[]): Node {
  return orBuiltIn(deps, (state, { writer, signal }) => {
    const messages: BaseMessageLike[] = [...opening(deps, state), ...state.work];
    const offered = [...tools, ...state.settings.callerTools];
    return converse(deps, state, { messages, tools: offered, signal }, (event) => writer?.(event));
  });
}

/** Has the model answer from what the tools returned. */
export function concludeNode(deps: TalkDeps): Node {
  return orBuiltIn(deps, (state, { writer, signal }) => {
    // As text: some providers refuse tool messages where no tools are offered.
    const observations = state.work.map((message) => (message.type === "tool" ? message.text : "")).filter((text) => text !== "");
    const material = `<observations>\n${observations.join("\n\n")}\n</observations>\n\n${deps.prompts["react-conclude"].text}`;
    const messages: BaseMessageLike[] = [...opening(deps, state), { role: "user", content: material }];
    return converse(deps, state, { messages, tools: [], signal }, (event) => writer?.(event));
  });
}

/** Where the model cannot be reached and the built-in one stands in for it, the rest of the run is that one's: `settings` say so. */
function orBuiltIn({ models }: TalkDeps, node: Node): Node {
  return async (state, config) => {
    let shown = false;
    const writer = (event: unknown) => {
      shown = true;
      config.writer?.(event);
    };
    try {
      return await node(state, { ...config, writer });
    } catch (error) {
      config.signal?.throwIfAborted();
      if (shown || !hasCode(error, Code.Unavailable) || !models.builtInStandsIn(state.settings.model)) throw error;
      return { settings: { ...state.settings, model: EXTRACTIVE_MODEL } };
    }
  };
}

function opening({ prompts }: TalkDeps, { messages, settings }: RunStateValue): BaseMessageLike[] {
  return [{ role: "system", content: prompts.react.text + callerInstructions(settings.instructions) }, ...messages.slice(-HISTORY_MESSAGES)];
}

type TalkDeps = Pick<AgentDeps, "models" | "clock" | "prompts" | "version">;

interface Turn {
  messages: BaseMessageLike[];
  tools: readonly ToolDefinition[];
  signal: AbortSignal | undefined;
}

async function converse(
  deps: TalkDeps,
  state: RunStateValue,
  turn: Turn,
  tell: (event: NodeEvent) => void,
) {
  const { models, clock, prompts } = deps;
  const { settings, passages, usage } = state;
  const model = models.languageModel(settings.model) as LanguageModel;
  let held: NodeEvent[] | undefined = turn.tools.length === 0 ? undefined : [];
  let heldLength = 0;
  const show = (event: NodeEvent) => {
    if (held === undefined) return tell(event);
    held.push(event);
    heldLength += "text" in event ? event.text.length : 0;
    if (heldLength > HELD_BACK) release();
  };
  const release = () => {
    for (const event of held ?? []) tell(event);
    held = undefined;
  };
  const binder = new CitationBinder(passages, show);
  const request = { ...turn, prompt: prompts.react.id, temperature: settings.temperature, maxTokens: settings.maxTokens };
  const written = await model.reply(request, (piece) => binder.write(piece));
  const total = addUsage(usage, written.usage);
  const by = answeredBy(deps, written.model);
  const calls = turn.tools.length === 0 ? undefined : callMessage(written.message);
  if (calls !== undefined) {
    const forCaller = callsFor(settings.callerTools, calls);
    if (forCaller.length === 0) return { work: [calls], usage: total };
    // Calls of ours beside them are not made: the model makes them again when it knows what the caller's returned.
    return { usage: total, reply: { text: "", citations: [], usage: total, ...by, toolCalls: forCaller } };
  }
  binder.end();
  release();
  models.countInvented(written.model, binder.invented);
  const reply = { text: binder.text, citations: binder.citations, ...by, usage: total };
  return { messages: [answerMessage(state, reply, clock)], usage: total, reply };
}

function callsFor(tools: readonly CallerTool[], { tool_calls = [] }: AIMessage): ToolCallNotice[] {
  const named = tool_calls.filter((call) => tools.some(({ name }) => name === call.name));
  return named.map(({ id = "", name, args }) => ({ id, name, arguments: args as JsonObject }));
}

/**
 * The message that calls tools, or undefined when it calls none. Calls whose arguments cannot be read are calls too, so
 * that the model can be told: they have no arguments, and are named in `invalid_tool_calls`.
 */
function callMessage({ text, tool_calls = [], invalid_tool_calls = [] }: AIMessageChunk): AIMessage | undefined {
  const unreadable = invalid_tool_calls.map(({ id, name }) => ({ id: id ?? "", name: name ?? "", args: {}, type: "tool_call" as const }));
  const calls = [...tool_calls, ...unreadable];
  if (calls.length === 0) return undefined;
  return new AIMessage({ id: randomUUID(), content: text, tool_calls: calls, invalid_tool_calls });
}
