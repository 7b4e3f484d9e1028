import { toJson } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { ConfigOverridesSchema } from "../../gen/ragents/agent/v1/agent_pb.js";
import type { AgentService, QueryRequest, StreamQueryRequest } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { currentCall } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import type { Models } from "../../runtime/llm/models.js";
import type { Tracing } from "../../runtime/tracing/tracing.js";
import { behind, eventId, parseEventId, type Position, type RunPlace, START_OF_RUN } from "./event-position.js";
import { feedbackHandler } from "./feedback-handler.js";
import type { AgentVersion, AgentVersions } from "./agent-versions.js";
import { toCallerTool, toWork } from "./caller-messages.js";
import { toldMessage } from "./conversation.js";
import { InterruptDecisions } from "./interrupts.js";
import { toAgent, toEvent, toResponse } from "./messages.js";
import type { RunEvent, RunRequest, RunResult, WhenBusy } from "./run.js";
import { runIdentity } from "./run-identity.js";
import type { Runs } from "./runs.js";
import { runSettings } from "./settings.js";
import { threadHandlers, type ThreadHandlerDeps } from "./thread-handlers.js";

export interface AgentHandlerDeps extends ThreadHandlerDeps {
  runs: Runs;
  versions: AgentVersions;
  models: Pick<Models, "names" | "nameOf" | "versionOf">;
  clock: Clock;
  /** Sends what somebody thinks of an answer; undefined where nothing takes it. */
  score: Tracing["score"];
}

const DEFAULT_AGENT = "simple";

/** The agent service over runs and threads. */
export function agentHandlers(deps: AgentHandlerDeps): ServiceImpl<typeof AgentService> {
  const { runs, clock } = deps;
  const stopwatch = () => {
    const started = clock.monotonic();
    return () => (clock.monotonic() - started) / 1000;
  };
  const responseOf = async (events: AsyncIterable<RunEvent>) => {
    const seconds = stopwatch();
    for await (const event of traced(events)) if ("result" in event) return toResponse(event.result, seconds());
    throw new Error("the run ended without a result");
  };
  async function* streamOf(events: AsyncIterable<RunEvent>, place?: RunPlace, from: Position = START_OF_RUN) {
    const seconds = stopwatch();
    let position = from;
    let known = place;
    for await (const event of traced(events)) {
      if ("started" in event) {
        known = event.started;
        position = event.at ?? position;
      }
      position = behind(position, event);
      if (known === undefined) throw new Error("the run did not say where it is");
      yield { eventId: eventId(known, position), event: toEvent(event, seconds()) };
    }
  }
  return {
    ...threadHandlers(deps),
    ...feedbackHandler(deps.score),
    query: (request, context) => responseOf(runs.ask(runRequest(request, {}, deps, context), context.signal)),
    streamQuery: (request, context) => streamOf(runs.ask(runRequest(request, { isFollowed: true, isResumable: request.resumable }, deps, context), context.signal)),
    resumeStream(request, context) {
      const { position, ...place } = parseEventId(request.eventId || (context.requestHeader.get("last-event-id") ?? ""));
      return streamOf(runs.resume(place, position), place, position);
    },
    cancelRun: async ({ thread, runId }, context) => ({ cancelled: await runs.cancel(thread, runId, context.signal) }),
    async resumeRun({ thread, decisions }, context) {
      return { response: await responseOf(runs.answer(thread, new InterruptDecisions(decisions), context.signal)) };
    },
    streamResumeRun: ({ thread, decisions }, context) => streamOf(runs.answer(thread, new InterruptDecisions(decisions), context.signal)),
    listAgents: () => ({
      agents: deps.versions.types.map((type) => toAgent(deps.versions.of(type))),
      models: deps.models.names.map((name) => ({ name, version: deps.models.versionOf(name) })),
    }),
  };
}

/** The events; what came of them goes into the request's trace. */
async function* traced(events: AsyncIterable<RunEvent>): AsyncGenerator<RunEvent> {
  for await (const event of events) {
    if ("result" in event) traceResult(event.result);
    yield event;
  }
}

function traceResult({ response, threadId, agentType, agentVersion, model, modelVersion, collection, cached, usage, citations }: RunResult): void {
  const { inputTokens, outputTokens } = usage;
  currentCall()?.span?.set({
    output: () => ({ response }),
    threadId,
    metadata: {
      agent_type: agentType,
      agent_version: agentVersion,
      model,
      model_version: modelVersion,
      collection,
      cached,
      citations: citations.length,
      input_tokens: inputTokens,
      output_tokens: outputTokens,
    },
  });
}

function runRequest(
  request: QueryRequest | StreamQueryRequest,
  { isFollowed = false, isResumable = false }: { isFollowed?: boolean; isResumable?: boolean },
  { versions, models, clock }: Pick<AgentHandlerDeps, "versions" | "models" | "clock">,
  context: HandlerContext,
): RunRequest {
  const { query: question, threadId, configOverrides, enableLogicalLlm, history, toolRounds, callerTools } = request;
  currentCall()?.span?.set({ input: () => ({ query: question }) });
  const key = request.idempotencyKey || (context.requestHeader.get("idempotency-key") ?? "");
  const { type, pinned } = versions.named(request.agentType === "" ? DEFAULT_AGENT : request.agentType);
  const identity = runIdentity(key, () => ({ question, threadId, agent: request.agentType, ...(configOverrides && { overrides: toJson(ConfigOverridesSchema, configOverrides) }), enableLogicalLlm, callerTools, history, toolRounds }));
  const { tenant = "", user } = currentCall()?.identity ?? {};
  const outlivesCall = isResumable || key !== "";
  const version = pinned ?? versions.chosenFor(type, [tenant, user ?? (threadId || identity.newThreadId)]);
  const settingsUnder = (one: AgentVersion) => runSettings(one, models, { overrides: configOverrides, enableLogicalLlm, callerTools: callerTools.map(toCallerTool) });
  return {
    ...identity,
    question,
    threadId,
    history: history.map(({ role, content }) => toldMessage(role, content, clock)),
    work: toolRounds.flatMap(toWork),
    outlivesCall,
    isFollowed: isFollowed || outlivesCall,
    whenBusy: (request.whenBusy || "reject") as WhenBusy,
    settings: settingsUnder(version),
    settingsUnder: pinned === undefined ? settingsUnder : undefined,
    bypassCache: configOverrides?.bypassCache ?? false,
  };
}
