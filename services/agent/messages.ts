import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { BaseMessage } from "@langchain/core/messages";
import type { AgentSchema, LogicalAnalysisSchema, MessageSchema, RunInterruptSchema, ThreadCheckpointSchema, ThreadSchema } from "../../gen/ragents/agent/v1/agent_pb.js";
import { type QueryResponse, QueryResponseSchema, type StreamQueryResponseSchema } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { currentCall } from "../../runtime/call-context.js";
import { toTokenUsage } from "../../runtime/llm/token-usage.js";
import type { AgentVersion } from "./agent-versions.js";
import { citationsOf, stampOf } from "./conversation.js";
import type { Analysis } from "./logical/analysis.js";
import type { Interrupt, RunEvent, RunResult } from "./run.js";
import type { CheckpointView } from "./thread-states.js";
import type { ThreadView } from "./threads.js";

/** @param processingTime in seconds. */
export function toResponse(result: RunResult, processingTime: number): QueryResponse {
  return create(QueryResponseSchema, {
    response: result.response,
    threadId: result.threadId,
    agentType: result.agentType,
    processingTime,
    metadata: {
      cached: result.cached,
      model: result.model,
      modelVersion: result.modelVersion,
      agentVersion: result.agentVersion,
      collection: result.collection,
      citations: [...result.citations],
      usage: toTokenUsage(result.usage),
      traceId: currentCall()?.span?.traceId ?? currentCall()?.requestId ?? "",
    },
    interrupts: result.interrupts.map(toInterrupt),
    toolCalls: result.toolCalls.map((call) => ({ ...call })),
    ...(result.analysis !== null && { logicalAnalysis: toLogicalAnalysis(result.analysis) }),
  });
}

type StreamEvent = NonNullable<MessageInitShape<typeof StreamQueryResponseSchema>["event"]>;

/** @param processingTime of a result, in seconds. */
export function toEvent(event: RunEvent, processingTime: number): StreamEvent {
  if ("started" in event) return { case: "started", value: event.started };
  if ("step" in event) return { case: "step", value: event.step };
  if ("text" in event) return { case: "token", value: { text: event.text } };
  if ("citation" in event) return { case: "citation", value: event.citation };
  if ("toolCall" in event) return { case: "toolCall", value: event.toolCall };
  if ("toolResult" in event) return { case: "toolResult", value: event.toolResult };
  if ("restarted" in event) return { case: "restarted", value: {} };
  if ("interrupt" in event) return { case: "interrupt", value: toInterrupt(event.interrupt) };
  if ("usage" in event) return { case: "usage", value: toTokenUsage(event.usage) };
  return { case: "result", value: toResponse(event.result, processingTime) };
}

/** @param versions of one type, the first in the configuration first */
export function toAgent(versions: readonly AgentVersion[]): MessageInitShape<typeof AgentSchema> {
  const [{ kind, version }] = versions as [AgentVersion];
  return {
    agentType: kind.type,
    description: kind.description,
    version,
    versions: versions.map((one) => ({
      version: one.version,
      weight: one.weight,
      prompts: kind.prompts.map((name) => one.prompts[name].id),
      ...(one.settings !== undefined && { settings: one.settings }),
    })),
    ...(kind.configSchema !== undefined && { configSchema: kind.configSchema }),
  };
}

export function toMessage(message: BaseMessage): MessageInitShape<typeof MessageSchema> {
  return {
    id: message.id ?? "",
    role: message.type === "human" ? "user" : "assistant",
    content: message.text,
    citations: [...citationsOf(message)],
    createTime: timestampFromMs(stampOf(message).created),
  };
}

export function toThread({ id, messages, created, updated }: ThreadView): MessageInitShape<typeof ThreadSchema> {
  return { id, messageCount: messages.length, createTime: timestampFromMs(created), updateTime: timestampFromMs(updated) };
}

export function toCheckpoint({ created, next, ...rest }: CheckpointView): MessageInitShape<typeof ThreadCheckpointSchema> {
  return { ...rest, next: [...next], createTime: timestampFromMs(created) };
}

export function toInterrupt({ id, value }: Interrupt): MessageInitShape<typeof RunInterruptSchema> {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return { id, value: (isObject ? value : { value }) as JsonObject };
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
