import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { z } from "zod";
import type { CallerToolRoundSchema, ConfigOverrides } from "../../gen/ragents/agent/v1/agent_pb.js";
import type { StreamQueryRequestSchema } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { invalidParameter, unsupportedParameter } from "./openai-error.js";

const content = z.union([z.string(), z.array(z.looseObject({ type: z.string() }))], "give a text or an array of parts");

const toolCall = z.looseObject({
  id: z.string().min(1),
  type: z.literal("function"),
  function: z.looseObject({ name: z.string(), arguments: z.string() }),
});

const message = z.discriminatedUnion(
  "role",
  [
    z.looseObject({ role: z.enum(["system", "developer"]), content }),
    z.looseObject({ role: z.literal("user"), content }),
    z.looseObject({ role: z.literal("assistant"), content: content.nullish(), tool_calls: z.array(toolCall).nullish() }),
    z.looseObject({ role: z.literal("tool"), content, tool_call_id: z.string().min(1) }),
  ],
  { error: "give one of the roles system, developer, user, assistant and tool" },
);

const tool = z.looseObject({
  type: z.literal("function", "only functions can be called"),
  function: z.looseObject({
    name: z.string(),
    description: z.string().optional(),
    parameters: z.record(z.string(), z.unknown()).optional(),
  }),
});

/** As ConfigOverrides has it. */
const maxTokens = z.int().min(1).max(32_768);

/**
 * The body of POST /v1/chat/completions, as far as it is read. Parameters that only tune how a model samples (top_p,
 * penalties, seed) are not read: agents decide about that.
 */
export const chatRequestSchema = z.looseObject({
  model: z.string().min(1).max(64).describe('The agent that answers: "TYPE" or "TYPE@VERSION", as GET /v1/models names it.'),
  messages: z.array(message).min(1).max(400).describe("The conversation, oldest first; the last message of the user is answered."),
  stream: z.boolean().nullish().describe("Whether the answer comes as server-sent events, as it is written."),
  stream_options: z
    .looseObject({ include_usage: z.boolean().optional() })
    .nullish()
    .describe("With include_usage the last chunk counts the tokens."),
  temperature: z.number().min(0).max(2).nullish().describe("The model's temperature, 0 to 2."),
  max_completion_tokens: maxTokens.nullish().describe("The most tokens that the model may write."),
  max_tokens: maxTokens.nullish().describe("The older name of max_completion_tokens."),
  tools: z.array(tool).max(64).nullish().describe("Functions that the caller runs itself, for the agent react."),
  tool_choice: z.unknown().optional().describe('"auto" (default) or "none".'),
  thread_id: z.string().optional().describe("Our own: a thread to go on with. The messages before the last one are then not read."),
  config_overrides: z.record(z.string(), z.unknown()).optional().describe("Our own: what POST /query takes as config_overrides."),
});

export type ChatRequest = z.infer<typeof chatRequestSchema>;
type Message = ChatRequest["messages"][number];
/** Both of the agent's query RPCs take it. */
export type QueryInit = Omit<MessageInitShape<typeof StreamQueryRequestSchema>, "$typeName">;

/** Throws 400 naming the first parameter that does not fit. */
export function parseBody<T extends z.ZodType>(schema: T, body: unknown): z.infer<T> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const param = (issue?.path ?? []).map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("").replace(/^\./, "");
  throw invalidParameter(param === "" ? "body" : param, issue?.message ?? "does not fit");
}

/** What the answer's form depends on, and we do not do: to ignore these would be a wrong answer. */
const REFUSED: Readonly<Record<string, (value: unknown) => boolean>> = {
  n: (value) => value !== 1,
  logprobs: (value) => value !== false,
  audio: () => true,
  modalities: (value) => !(Array.isArray(value) && value.every((one) => one === "text")),
  functions: () => true,
  stop: (value) => !(Array.isArray(value) && value.length === 0),
  response_format: (value) => (value as { type?: unknown }).type !== "text",
  web_search_options: () => true,
};

/** The query that a chat request asks of an agent. Throws 400 naming the parameter for what cannot be done. */
export function toQuery(request: ChatRequest, toOverrides: (json: JsonObject) => ConfigOverrides): QueryInit {
  for (const [name, refuses] of Object.entries(REFUSED)) {
    const value = request[name];
    if (value !== undefined && value !== null && refuses(value)) throw unsupportedParameter(name, "agents cannot do this; leave it out");
  }
  const { messages } = request;
  const last = messages.findLastIndex(({ role }) => role === "user");
  if (last === -1) throw invalidParameter("messages", "needs a message of the user");
  const threadId = request.thread_id ?? "";
  return {
    agentType: request.model,
    query: textOf(messages[last]!, last),
    threadId,
    history: threadId === "" ? historyOf(messages.slice(0, last)) : [],
    toolRounds: roundsOf(messages, last + 1),
    callerTools: toolsOf(request),
    configOverrides: Object.assign(toOverrides((request.config_overrides ?? {}) as JsonObject), ownOverrides(request)),
  };
}

function ownOverrides({ messages, temperature, max_completion_tokens: most, max_tokens: older }: ChatRequest): Partial<ConfigOverrides> {
  const instructions = messages
    .flatMap((one, i) => (one.role === "system" || one.role === "developer" ? [textOf(one, i)] : []))
    .filter((text) => text.trim() !== "")
    .join("\n\n");
  const maxTokens = most ?? older;
  return {
    ...(instructions !== "" && { instructions }),
    ...(typeof temperature === "number" && { temperature }),
    ...(typeof maxTokens === "number" && { maxTokens }),
  };
}

/** What was said: calls of tools in earlier turns are not part of it. */
function historyOf(messages: readonly Message[]) {
  return messages.flatMap((one, i) => {
    if (one.role !== "user" && one.role !== "assistant") return [];
    const text = textOf(one, i);
    return text === "" ? [] : [{ role: one.role, content: text }];
  });
}

/** The calls behind the question and their results. */
function roundsOf(messages: readonly Message[], from: number): MessageInitShape<typeof CallerToolRoundSchema>[] {
  const rounds: { calls: { id: string; name: string; arguments: JsonObject }[]; results: { id: string; content: string }[] }[] = [];
  messages.slice(from).forEach((one, i) => {
    const at = from + i;
    if (one.role === "assistant" && (one.tool_calls?.length ?? 0) > 0) {
      const calls = one.tool_calls!.map((call, c) => ({
        id: call.id,
        name: call.function.name,
        arguments: argumentsOf(call.function.arguments, `messages[${at}].tool_calls[${c}].function.arguments`),
      }));
      rounds.push({ calls, results: [] });
    } else if (one.role === "tool") {
      const round = rounds.at(-1);
      if (round === undefined) throw invalidParameter(`messages[${at}]`, "answers no call: a message with tool_calls must be before it");
      round.results.push({ id: one.tool_call_id, content: textOf(one, at) });
    } else if (one.role === "assistant") {
      throw invalidParameter(`messages[${at}]`, "the last message must be of the user, or answer tool calls");
    }
  });
  return rounds;
}

function argumentsOf(text: string, param: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text === "" ? "{}" : text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  } catch {
    // Said below.
  }
  throw invalidParameter(param, "give a JSON object as text");
}

function toolsOf({ tools, tool_choice: choice }: ChatRequest) {
  if (choice !== undefined && choice !== null && choice !== "auto" && choice !== "none") {
    throw unsupportedParameter("tool_choice", 'the model decides which tools it calls; give "auto" or "none"');
  }
  if (choice === "none") return [];
  return (tools ?? []).map(({ function: { name, description = "", parameters } }) => ({
    name,
    description,
    ...(parameters !== undefined && { parameters: parameters as JsonObject }),
  }));
}

function textOf({ content: parts }: Message, at: number): string {
  if (typeof parts === "string") return parts;
  return (parts ?? [])
    .map((part, i) => {
      if (part.type === "text" && typeof part["text"] === "string") return part["text"];
      if (part.type === "refusal") return "";
      throw unsupportedParameter(`messages[${at}].content[${i}]`, "agents read text parts only");
    })
    .join("\n");
}
