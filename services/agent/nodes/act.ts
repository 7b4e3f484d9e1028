import type { JsonObject } from "@bufbuild/protobuf";
import { type AIMessage, ToolMessage } from "@langchain/core/messages";
import { interrupt } from "@langchain/langgraph";
import type { Passage } from "../../../runtime/llm/answerer.js";
import type { Decision } from "../interrupts.js";
import type { Node, NodeEvent } from "../state.js";
import { numbered, type Observation, observe, type ToolCall } from "../tools/observe.js";
import type { Tool } from "../tools/tool.js";

/** Calls that a model may make in one round; the others are refused. */
const MAX_CALLS = 8;

/** Runs the tools that the model called, side by side, and adds what they returned to the work. */
export function actNode(tools: readonly Tool[]): Node {
  return async ({ work, settings, passages }, { writer, signal }) => {
    const tell = (event: NodeEvent) => writer?.(event);
    const run = { settings, signal: signal ?? new AbortController().signal };
    const calls = callsOf(work.at(-1) as AIMessage);
    const made = new Set(work.slice(0, -1).flatMap((message) => (message.type === "ai" ? callsOf(message as AIMessage).map(fingerprint) : [])));
    // All before the first call is made: a node that waited for an answer is run anew from its beginning.
    const decisions = calls.map((call, i) => (i < MAX_CALLS && !made.has(fingerprint(call)) ? decisionOn(call, tools) : undefined));
    const observations = await Promise.all(
      calls.map(async (call, i) => {
        const decision = decisions[i];
        tell({ toolCall: { id: call.id, name: call.name, arguments: asObject(call.args) } });
        const observation =
          i >= MAX_CALLS
            ? refused(`At most ${MAX_CALLS} calls a round.`)
            : made.has(fingerprint(call))
              ? refused("This call was made before; use what it returned, or make another one.")
              : decision?.approved === false
                ? refused(`The call was not approved. ${decision.comment}`.trim())
                : await observe(call, tools, run);
        tell({ toolResult: { id: call.id, name: call.name, failed: observation.failed, summary: summary(observation) } });
        return observation;
      }),
    );
    const found: Passage[] = [...passages];
    const messages = observations.map((observation, i) => {
      const content = observation.text === "" ? describe(observation.passages, found) : observation.text;
      return new ToolMessage({ tool_call_id: calls[i]?.id ?? "", content, status: observation.failed ? "error" : "success" });
    });
    return { work: messages, passages: found };
  };
}

/** Interrupts the run to ask whether a tool may be called, where that has to be asked; what was decided, when it was. */
function decisionOn({ id, name, args }: ToolCall, tools: readonly Tool[]): Decision | undefined {
  const tool = tools.find((one) => one.name === name);
  return tool?.needsApproval ? interrupt({ tool: name, call: id, arguments: asObject(args) }) : undefined;
}

/** Adds passages that are new to those found before, and shows all of these by their numbers. */
function describe(passages: readonly Passage[], found: Passage[]): string {
  const before = found.length;
  const known: number[] = [];
  for (const passage of passages) {
    const at = found.findIndex(({ chunkId, documentId }) => chunkId === passage.chunkId && documentId === passage.documentId);
    if (at === -1) found.push(passage);
    else if (at < before) known.push(at + 1);
  }
  const again = known.length === 0 ? "" : `Found again: ${known.map((number) => `[${number}]`).join(" ")}\n`;
  return again !== "" && found.length === before ? again.trim() : again + numbered(found.slice(before), before + 1);
}

function callsOf({ tool_calls = [], invalid_tool_calls = [] }: AIMessage): ToolCall[] {
  return tool_calls.map(({ id = "", name, args }) => {
    // No object, so that the check of the arguments fails and the model is told.
    const unreadable = invalid_tool_calls.find((call) => call.id === id);
    return { id, name, args: unreadable === undefined ? args : (unreadable.args ?? "") };
  });
}

function fingerprint({ name, args }: ToolCall): string {
  return `${name} ${JSON.stringify(args)}`;
}

function refused(text: string): Observation {
  return { text, failed: true, passages: [] };
}

function summary({ failed, text, passages }: Observation): string {
  if (text !== "") return `${failed ? "" : "Returned: "}${text.length > 200 ? `${text.slice(0, 200)}...` : text}`;
  return passages.length === 0 ? "Found nothing." : `Found ${passages.length} passage${passages.length === 1 ? "" : "s"}.`;
}

function asObject(args: unknown): JsonObject {
  return typeof args === "object" && args !== null && !Array.isArray(args) ? (args as JsonObject) : { arguments: String(args) };
}
