import { z } from "zod";
import type { ChatRequest } from "./chat-request.js";
import { chatRequestSchema } from "./chat-request.js";
import { invalidParameter, unsupportedParameter } from "./openai-error.js";

const content = z.union([z.string(), z.array(z.looseObject({ type: z.string() }))], "give a text or an array of parts");

const item = z.looseObject({
  type: z.literal("message", "agents read messages only").optional(),
  role: z.enum(["system", "developer", "user", "assistant"], "give one of the roles system, developer, user and assistant"),
  content,
});

const { model, temperature, max_completion_tokens: maxTokens, thread_id: threadId, config_overrides: configOverrides } = chatRequestSchema.shape;

/** The body of POST /v1/responses, as far as it is read. */
export const responsesRequestSchema = z.looseObject({
  model,
  input: z
    .union([z.string().min(1), z.array(item).min(1).max(400)], "give a text or an array of messages")
    .describe("The question, or the conversation, oldest first, whose last message the user's is."),
  instructions: z.string().nullish().describe("What the application tells the agent to do."),
  stream: z.boolean().nullish().describe("Whether the answer comes as server-sent events, as it is written."),
  temperature,
  max_output_tokens: maxTokens.describe("The most tokens that the model may write."),
  thread_id: threadId,
  config_overrides: configOverrides,
});

export type ResponsesRequest = z.infer<typeof responsesRequestSchema>;

const isEmpty = (value: unknown) => Array.isArray(value) && value.length === 0;

/** What the answer depends on, and we do not do, with what to do instead. */
const REFUSED: Readonly<Record<string, { allows: (value: unknown) => boolean; instead: string }>> = {
  previous_response_id: { allows: () => false, instead: "responses are not stored: send the conversation as input, or thread_id" },
  conversation: { allows: () => false, instead: "send the conversation as input, or thread_id" },
  background: { allows: (value) => value === false, instead: "leave it out" },
  prompt: { allows: () => false, instead: "send instructions and input" },
  tools: { allows: isEmpty, instead: "call /v1/chat/completions, which takes functions" },
  text: { allows: (value) => ((value as { format?: { type?: unknown } }).format?.type ?? "text") === "text", instead: "agents answer with text" },
};

/** The chat request that asks the same. Throws 400 naming the parameter for what cannot be done. */
export function toChatRequest(request: ResponsesRequest): ChatRequest {
  for (const [name, { allows, instead }] of Object.entries(REFUSED)) {
    const value = request[name];
    if (value !== undefined && value !== null && !allows(value)) throw unsupportedParameter(name, instead);
  }
  const { input, instructions, max_output_tokens: most, stream, temperature: heat } = request;
  const items = typeof input === "string" ? [{ role: "user" as const, content: input }] : input;
  if (items.at(-1)!.role !== "user") throw invalidParameter("input", "the last message must be of the user");
  const told = typeof instructions === "string" ? [{ role: "developer" as const, content: instructions }] : [];
  return {
    model: request.model,
    messages: [...told, ...items.map(({ role, content: parts }, i) => ({ role, content: textOf(parts, i) }))],
    stream,
    temperature: heat,
    max_completion_tokens: most,
    ...(request.thread_id !== undefined && { thread_id: request.thread_id }),
    ...(request.config_overrides !== undefined && { config_overrides: request.config_overrides }),
  };
}

function textOf(parts: z.infer<typeof content>, at: number): string {
  if (typeof parts === "string") return parts;
  return parts
    .map((part, i) => {
      if ((part.type === "input_text" || part.type === "output_text") && typeof part["text"] === "string") return part["text"];
      if (part.type === "refusal") return "";
      throw unsupportedParameter(`input[${at}].content[${i}]`, "agents read text parts only");
    })
    .join("\n");
}
