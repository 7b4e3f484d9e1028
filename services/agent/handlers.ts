import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { CallerTool as CallerToolMessage, CallerToolRound, HistoryMessage, LogicalAnalysisSchema, MessageSchema } from "../../gen/ragents/agent/v1/agent_pb.js";
import {
  type AgentService,
  type QueryRequest,
  type QueryResponse,
  QueryResponseSchema,
  type StreamQueryRequest,
  type StreamQueryResponseSchema,
} from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { currentCall } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { AIMessage, type BaseMessage, ToolMessage } from "@langchain/core/messages";
import { answerMessage, stampOf, userMessage } from "./conversation.js";
import { agentTypeOf, shortVersion } from "./agent-version.js";
import type { Analysis } from "./logical/analysis.js";
import { messagePage } from "./message-page.js";
import type { RunEvent, RunRequest, RunResult } from "./run.js";
import type { Runs } from "./runs.js";
import { type CallerTool, runSettings } from "./settings.js";
import type { Threads } from "./threads.js";

export interface AgentHandlerDeps {
  runs: Runs;
  threads: Threads;
  defaultModel: string;
  clock: Clock;
}

const DEFAULT_AGENT = "simple";

export function agentHandlers({ runs, threads, defaultModel, clock }: AgentHandlerDeps): ServiceImpl<typeof AgentService> {
  /** The run's events, with the response in the place of the result. */
  async function* answer(request: QueryRequest | StreamQueryRequest, context: HandlerContext) {
    const started = clock.monotonic();
    for await (const event of runs.ask(runRequest(request, { runs, defaultModel, clock }), context.signal)) {
      if ("result" in event) {
        traceResult(request.query, event.result);
        yield { response: toResponse(event.result, (clock.monotonic() - started) / 1000) };
      } else yield event;
    }
  }
  return {
    async query(request, context) {
      for await (const event of answer(request, context)) if ("response" in event) return event.response;
      throw new Error("the run ended without a result");
    },
    async *streamQuery(request, context) {
      let id = 0;
      for await (const event of answer(request, context)) yield { eventId: String((id += 1)), event: toEvent(event) };
    },
    listAgents: () => ({ agents: runs.kinds.map((kind) => ({ agentType: kind.type, description: kind.description, version: shortVersion(kind) })) }),
    async getThread({ thread }) {
      const { id, messages, created, updated } = await threads.get(thread);
      return { thread: { id, messageCount: messages.length, createTime: timestampFromMs(created), updateTime: timestampFromMs(updated) } };
    },
    async deleteThread({ thread }) {
      await threads.delete(thread);
      return {};
    },
    async listThreadMessages({ thread, pageSize, pageToken }) {
      const { messages } = await threads.get(thread);
      const page = messagePage(messages, pageSize, pageToken);
      return { messages: page.messages.map(toMessage), nextPageToken: page.nextPageToken };
    },
  };
}

function runRequest(
  request: QueryRequest | StreamQueryRequest,
  { runs, defaultModel, clock }: Pick<AgentHandlerDeps, "runs" | "defaultModel" | "clock">,
): RunRequest {
  return {
    agentType: agentTypeOf(request.agentType === "" ? DEFAULT_AGENT : request.agentType, runs.kinds),
    question: request.query,
    threadId: request.threadId,
    history: request.history.map((message) => remembered(message, clock)),
    work: request.toolRounds.flatMap(toWork),
    settings: runSettings(request.configOverrides, defaultModel, request.enableLogicalLlm, request.callerTools.map(toCallerTool)),
    bypassCache: request.configOverrides?.bypassCache ?? false,
  };
}

function remembered({ role, content }: HistoryMessage, clock: Clock): BaseMessage {
  return role === "user" ? userMessage(content, clock) : answerMessage({ text: content, model: "", citations: [] }, clock);
}

function toCallerTool({ name, description, parameters = {} }: CallerToolMessage): CallerTool {
  return { name, description, parameters: { type: "object", ...parameters } };
}

/** The messages of a round as a model is shown them. */
function toWork({ calls, results }: CallerToolRound): BaseMessage[] {
  const called = calls.map(({ id, name, arguments: args = {} }) => ({ id, name, args, type: "tool_call" as const }));
  const message = new AIMessage({ id: randomUUID(), content: "", tool_calls: called });
  return [message, ...results.map(({ id, content }) => new ToolMessage({ tool_call_id: id, content }))];
}

/** What the trace of a request tells of it. */
function traceResult(query: string, { response, threadId, agentType, model, collection, cached, usage, citations }: RunResult): void {
  const { inputTokens, outputTokens } = usage;
  currentCall()?.span?.set({
    input: { query },
    output: { response },
    threadId,
    metadata: { agent_type: agentType, model, collection, cached, citations: citations.length, input_tokens: inputTokens, output_tokens: outputTokens },
  });
}

function toResponse(result: RunResult, processingTime: number): QueryResponse {
  const { inputTokens, outputTokens } = result.usage;
  return create(QueryResponseSchema, {
    response: result.response,
    threadId: result.threadId,
    agentType: result.agentType,
    processingTime,
    metadata: {
      cached: result.cached,
      model: result.model,
      collection: result.collection,
      citations: [...result.citations],
      usage: { inputTokens: BigInt(inputTokens), outputTokens: BigInt(outputTokens), totalTokens: BigInt(inputTokens + outputTokens) },
      traceId: currentCall()?.span?.traceId ?? "",
    },
    toolCalls: result.toolCalls.map((call) => ({ ...call })),
    ...(result.analysis !== null && { logicalAnalysis: toLogicalAnalysis(result.analysis) }),
  });
}

function toLogicalAnalysis(analysis: Analysis): MessageInitShape<typeof LogicalAnalysisSchema> {
  const { domain, type, confidence, tokenReduction, directive, constraints, clarification } = analysis;
  return {
    domain,
    pattern: type,
    confidence,
    tokenReduction,
    optimizedQuery: directive.queryText,
    constraints: constraints.map((constraint) => ({ ...constraint })),
    ...(clarification !== null && { clarification: { question: clarification.question, options: [...clarification.options] } }),
  };
}

type StreamEvent = NonNullable<MessageInitShape<typeof StreamQueryResponseSchema>["event"]>;

function toEvent(event: Exclude<RunEvent, { result: RunResult }> | { response: QueryResponse }): StreamEvent {
  if ("response" in event) return { case: "result", value: event.response };
  if ("step" in event) return { case: "step", value: event.step };
  if ("text" in event) return { case: "token", value: { text: event.text } };
  if ("toolCall" in event) return { case: "toolCall", value: event.toolCall };
  if ("toolResult" in event) return { case: "toolResult", value: event.toolResult };
  return { case: "citation", value: event.citation };
}

function toMessage(message: BaseMessage): MessageInitShape<typeof MessageSchema> {
  const { created, citations = [] } = stampOf(message);
  return {
    id: message.id ?? "",
    role: message.type === "human" ? "user" : "assistant",
    content: message.text,
    citations: [...citations],
    createTime: timestampFromMs(created),
  };
}
