import { randomUUID } from "node:crypto";
import type { Client } from "@connectrpc/connect";
import type { AgentService, QueryResponse } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import type { Clock } from "../../runtime/clock.js";
import { type Annotation, annotationsOf } from "./annotations.js";
import { type CallOptions, ownFields, usageOf } from "./chat-completions.js";
import type { QueryInit } from "./chat-request.js";
import type { EventStream } from "./event-stream.js";
import type { ResponsesRequest } from "./responses-request.js";

/** Answers a request of the responses API at once. */
export async function respond(agent: Client<typeof AgentService>, request: ResponsesRequest, query: QueryInit, options: CallOptions, clock: Clock) {
  const response = newResponse(request, clock);
  return completed(response, newMessage(), await agent.query(query, options));
}

/** Sends the answer as the events of the responses API. Rejects with what happened before the first one. */
export async function streamResponse(
  agent: Client<typeof AgentService>,
  request: ResponsesRequest,
  query: QueryInit,
  options: CallOptions,
  { clock, stream }: { clock: Clock; stream: EventStream },
): Promise<void> {
  const response = newResponse(request, clock);
  const message = newMessage();
  const part = { item_id: message.id, output_index: 0, content_index: 0 };
  let count = 0;
  const send = (type: string, fields: object) => stream.send({ type, sequence_number: count++, ...fields }, type);
  let begun = false;
  const begin = async () => {
    if (begun) return;
    begun = true;
    await send("response.created", { response });
    await send("response.in_progress", { response });
    await send("response.output_item.added", { output_index: 0, item: message });
    await send("response.content_part.added", { ...part, part: textPart("", []) });
  };
  for await (const { event } of agent.streamQuery(query, options)) {
    await begin();
    if (event.case === "token") await send("response.output_text.delta", { ...part, delta: event.value.text, logprobs: [] });
    if (event.case !== "result") continue;
    const done = completed(response, message, event.value);
    const [item] = done.output;
    const [content] = item.content;
    for (const [annotation_index, annotation] of content.annotations.entries()) {
      await send("response.output_text.annotation.added", { ...part, annotation_index, annotation });
    }
    await send("response.output_text.done", { ...part, text: content.text, logprobs: [] });
    await send("response.content_part.done", { ...part, part: content });
    await send("response.output_item.done", { output_index: 0, item });
    await send("response.completed", { response: done });
  }
}

function newMessage() {
  return { type: "message", id: `msg_${randomUUID()}`, status: "in_progress", role: "assistant", content: [] };
}

function newResponse({ model, instructions, temperature, max_output_tokens }: ResponsesRequest, clock: Clock) {
  return {
    id: `resp_${randomUUID()}`,
    object: "response",
    created_at: Math.floor(clock.now() / 1000),
    status: "in_progress",
    model,
    output: [],
    instructions: instructions ?? null,
    temperature: temperature ?? null,
    top_p: null,
    max_output_tokens: max_output_tokens ?? null,
    tools: [],
    tool_choice: "auto",
    parallel_tool_calls: false,
    metadata: {},
    error: null,
    incomplete_details: null,
    usage: null,
  };
}

function completed(response: ReturnType<typeof newResponse>, message: ReturnType<typeof newMessage>, answer: QueryResponse) {
  const { prompt_tokens: input_tokens, completion_tokens: output_tokens, total_tokens } = usageOf(answer);
  const part = textPart(answer.response, annotationsOf(answer.response, answer.metadata?.citations ?? []).map(flat));
  const item = { ...message, status: "completed", content: [part] as [typeof part] };
  return {
    ...response,
    status: "completed",
    output: [item] as [typeof item],
    usage: {
      input_tokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens,
    },
    ragents: ownFields(answer),
  };
}

function textPart(text: string, annotations: object[]) {
  return { type: "output_text", text, annotations, logprobs: [] };
}

/** This API has an annotation's fields beside its type; `index` is where the text cites a file. */
function flat(annotation: Annotation): object {
  if (annotation.type === "url_citation") return { type: annotation.type, ...annotation.url_citation };
  return { type: annotation.type, index: annotation.file_citation.start_index, ...annotation.file_citation };
}
