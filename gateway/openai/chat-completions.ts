import { randomUUID } from "node:crypto";
import type { Client } from "@connectrpc/connect";
import type { ToolCall } from "../../gen/ragents/agent/v1/agent_pb.js";
import type { AgentService, QueryResponse } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import type { Clock } from "../../runtime/clock.js";
import { annotationsOf } from "./annotations.js";
import type { ChatRequest, QueryInit } from "./chat-request.js";
import type { EventStream } from "./event-stream.js";

/** How a call of ours is made for a request: its headers, deadline and cancellation. */
export interface CallOptions {
  headers: Headers;
  signal: AbortSignal;
  timeoutMs: number;
}

/** One answer, by the id and time that all of its chunks carry. */
interface Completion {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

/** Answers a chat request at once. */
export async function complete(agent: Client<typeof AgentService>, request: ChatRequest, query: QueryInit, options: CallOptions, clock: Clock) {
  const answer = await agent.query(query, options);
  return {
    ...base(newCompletion(request, clock), "chat.completion"),
    choices: [{ index: 0, message: messageOf(answer), logprobs: null, finish_reason: finishReason(answer) }],
    usage: usageOf(answer),
    ragents: ownFields(answer),
  };
}

/** Sends the answer to a chat request as it is written. Rejects with what happened before the first event. */
export async function streamCompletion(
  agent: Client<typeof AgentService>,
  request: ChatRequest,
  query: QueryInit,
  options: CallOptions,
  { clock, stream }: { clock: Clock; stream: EventStream },
): Promise<void> {
  const completion = base(newCompletion(request, clock), "chat.completion.chunk");
  const includesUsage = request.stream_options?.include_usage === true;
  const usage = includesUsage ? { usage: null } : {};
  const chunk = (delta: object, finish: string | null = null) =>
    stream.send({ ...completion, choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }], ...usage });
  let begun = false;
  const begin = async () => {
    if (!begun) await chunk({ role: "assistant", content: "", refusal: null });
    begun = true;
  };
  for await (const { event } of agent.streamQuery(query, options)) {
    await begin();
    if (event.case === "token") await chunk({ content: event.value.text });
    if (event.case !== "result") continue;
    const answer = event.value;
    const calls = toolCallsOf(answer.toolCalls).map((call, index) => ({ index, ...call }));
    if (calls.length > 0) await chunk({ tool_calls: calls });
    const annotations = annotationsOf(answer.response, answer.metadata?.citations ?? []);
    if (annotations.length > 0) await chunk({ annotations });
    await stream.send({
      ...completion,
      choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: finishReason(answer) }],
      ...usage,
      ragents: ownFields(answer),
    });
    if (includesUsage) await stream.send({ ...completion, choices: [], usage: usageOf(answer) });
  }
  await stream.send("[DONE]");
}

function newCompletion({ model }: ChatRequest, clock: Clock): Completion {
  return { id: `chatcmpl-${randomUUID()}`, created: Math.floor(clock.now() / 1000), model };
}

function base({ id, created, model }: Completion, object: string) {
  return { id, object, created, model };
}

function messageOf(answer: QueryResponse) {
  const calls = toolCallsOf(answer.toolCalls);
  return {
    role: "assistant",
    content: calls.length > 0 ? null : answer.response,
    refusal: null,
    annotations: annotationsOf(answer.response, answer.metadata?.citations ?? []),
    ...(calls.length > 0 && { tool_calls: calls }),
  };
}

function toolCallsOf(calls: readonly ToolCall[]) {
  return calls.map(({ id, name, arguments: args = {} }) => ({
    id,
    type: "function",
    function: { name, arguments: JSON.stringify(args) },
  }));
}

function finishReason({ toolCalls }: QueryResponse): string {
  return toolCalls.length > 0 ? "tool_calls" : "stop";
}

/** Tokens that the agent's model counted; zero when the answer came from the cache or from the built-in model. */
export function usageOf({ metadata }: QueryResponse) {
  const { inputTokens = 0n, outputTokens = 0n, totalTokens = 0n } = metadata?.usage ?? {};
  return { prompt_tokens: Number(inputTokens), completion_tokens: Number(outputTokens), total_tokens: Number(totalTokens) };
}

/** What OpenAI's form has no place for. */
export function ownFields({ threadId, metadata }: QueryResponse) {
  return {
    thread_id: threadId,
    model: metadata?.model ?? "",
    model_version: metadata?.modelVersion ?? "",
    agent_version: metadata?.agentVersion ?? "",
    collection: metadata?.collection ?? "",
    cached: metadata?.cached ?? false,
    trace_id: metadata?.traceId ?? "",
  };
}
