import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** What the double answers to one request. */
export interface ScriptedReply {
  /** The text, streamed word by word. */
  text?: string;
  /** Tools that the model calls. */
  toolCalls?: { name: string; arguments: unknown }[];
  /** An HTTP failure instead of an answer. */
  status?: number;
  headers?: Record<string, string>;
  /** Closes the connection after so many pieces. */
  breakAfter?: number;
  /** What the failure says, beside a message. */
  error?: { code?: string | number; type?: string; message: string };
  /** Tells no count of tokens, as llama-cpp-python does. */
  uncounted?: boolean;
  /** Sent in the place of an answer, as it is. */
  raw?: string;
  /** Time between two pieces, in milliseconds. */
  betweenMs?: number;
  /** Says nothing after so many pieces before `until` resolves. */
  pauseAfter?: number;
  until?: Promise<void>;
  /** Sends the head and then nothing. */
  hang?: boolean;
  /** Time before the first piece, in milliseconds. */
  delayMs?: number;
}

/** A request as the double received it. */
export interface ReceivedRequest {
  authorization: string | undefined;
  model: string;
  messages: { role: string; content: string; tool_calls?: { id: string }[]; tool_call_id?: string }[];
  temperature?: number;
  max_tokens?: number;
  stream?: boolean;
  tools?: { function: { name: string; parameters: object } }[];
  /** Whether the client went away before the end. */
  aborted: boolean;
}

export type Script = (request: ReceivedRequest, count: number) => ScriptedReply;

export interface OpenAiDouble {
  /** For OPENAI_BASE_URL. */
  readonly baseUrl: string;
  readonly requests: ReceivedRequest[];
  /** What is answered from now on. */
  script: Script;
  close(): Promise<void>;
}

/**
 * A server of the chat completions API on loopback that answers by a script
 * and refuses, as the real ones do, what the API does not allow.
 */
export async function startOpenAiDouble(script: Script = () => ({ text: "ok" })): Promise<OpenAiDouble> {
  const requests: ReceivedRequest[] = [];
  const server = createServer((incoming, outgoing) => {
    answer(incoming, outgoing).catch(() => outgoing.destroy());
  });

  async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const body = JSON.parse(await textOf(incoming)) as ReceivedRequest;
    const request = { ...body, authorization: incoming.headers.authorization, aborted: false };
    requests.push(request);
    outgoing.on("close", () => (request.aborted = !outgoing.writableEnded));
    const wrong = incoming.url === "/v1/chat/completions" ? protocolError(body) : `no route ${incoming.url}`;
    if (wrong !== undefined) return refuse(outgoing, 400, wrong);
    const reply = double.script(request, requests.length);
    if (reply.status !== undefined) return refuse(outgoing, reply.status, "scripted failure", reply.headers, reply.error);
    if (reply.delayMs !== undefined) await delay(reply.delayMs);
    await streamReply(outgoing, body.model, reply);
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const double: OpenAiDouble = {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    script,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  return double;
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of incoming) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}

/** What the API would refuse in a request, or undefined. */
function protocolError({ model, messages, stream, tools }: ReceivedRequest): string | undefined {
  if (typeof model !== "string" || model === "") return "model is missing";
  if (stream !== true) return "the double only streams";
  if (!Array.isArray(messages) || messages.length === 0) return "messages are missing";
  let open = new Set<string>();
  for (const { role, content, tool_calls, tool_call_id } of messages) {
    if (!["system", "user", "assistant", "tool"].includes(role)) return `unknown role ${role}`;
    if (role === "tool" ? !open.delete(tool_call_id ?? "") : open.size > 0) return "tool messages must answer the tool calls";
    if (typeof content !== "string" && tool_calls === undefined) return `the ${role} message has no content`;
    if (tool_calls !== undefined) open = new Set(tool_calls.map(({ id }) => id));
  }
  if (open.size > 0) return "a tool call has no answer";
  if (tools?.some((tool) => !/^[\w-]{1,64}$/.test(tool.function.name))) return "a tool's name is not allowed";
  return undefined;
}

function refuse(outgoing: ServerResponse, status: number, message: string, headers: Record<string, string> = {}, error: object = {}): void {
  outgoing.writeHead(status, { "content-type": "application/json", ...headers });
  outgoing.end(JSON.stringify({ error: { message, type: "invalid_request_error", ...error } }));
}

async function streamReply(outgoing: ServerResponse, model: string, reply: ScriptedReply): Promise<void> {
  outgoing.writeHead(200, { "content-type": "text/event-stream" });
  const send = (fields: object) => {
    outgoing.write(`data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model, ...fields })}\n\n`);
  };
  const piece = (delta: object, finish: string | null = null) => send({ choices: [{ index: 0, delta, finish_reason: finish }] });
  piece({ role: "assistant", content: "" });
  if (reply.hang === true) return;
  if (reply.raw !== undefined) return void outgoing.end(reply.raw);
  const words = reply.text?.match(/\s*\S+/g) ?? [];
  for (const [i, word] of words.entries()) {
    if (i === reply.breakAfter) {
      // Not destroyed: the pieces before it still arrive.
      return void outgoing.socket?.end();
    }
    if (i === reply.pauseAfter) await reply.until;
    piece({ content: word });
    await delay(reply.betweenMs ?? 0);
  }
  for (const [index, call] of (reply.toolCalls ?? []).entries()) {
    const json = typeof call.arguments === "string" ? call.arguments : JSON.stringify(call.arguments);
    piece({ tool_calls: [{ index, id: `call_${index}`, type: "function", function: { name: call.name, arguments: "" } }] });
    piece({ tool_calls: [{ index, function: { arguments: json } }] });
  }
  piece({}, reply.toolCalls === undefined ? "stop" : "tool_calls");
  if (reply.uncounted !== true) send({ choices: [], usage: { prompt_tokens: 100, completion_tokens: words.length, total_tokens: 100 + words.length } });
  outgoing.end("data: [DONE]\n\n");
}
