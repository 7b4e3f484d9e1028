import { randomUUID } from "node:crypto";
import { AIMessage, type BaseMessage, ToolMessage } from "@langchain/core/messages";
import type { CallerTool as CallerToolMessage, CallerToolRound } from "../../gen/ragents/agent/v1/agent_pb.js";
import type { CallerTool } from "./settings.js";

/** A tool of the caller as a model is told of it. */
export function toCallerTool({ name, description, parameters = {} }: CallerToolMessage): CallerTool {
  return { name, description, parameters: { type: "object", ...parameters } };
}

/** Calls of the caller's tools and their results as a model is shown them. */
export function toWork({ calls, results }: CallerToolRound): BaseMessage[] {
  const called = calls.map(({ id, name, arguments: args = {} }) => ({ id, name, args, type: "tool_call" as const }));
  const message = new AIMessage({ id: randomUUID(), content: "", tool_calls: called });
  return [message, ...results.map(({ id, content }) => new ToolMessage({ tool_call_id: id, content }))];
}
