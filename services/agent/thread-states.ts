import { randomUUID } from "node:crypto";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { AIMessage, type BaseMessage, HumanMessage, RemoveMessage } from "@langchain/core/messages";
import { type CheckpointTuple, type PendingWrite, TASKS } from "@langchain/langgraph-checkpoint";
import { z } from "zod";
import type { GrpcCheckpointSaver } from "../../clients/checkpoint/index.js";
import type { Clock } from "../../runtime/clock.js";
import { hasCode, invalidField } from "../../runtime/errors.js";
import { Code } from "@connectrpc/connect";
import type { AgentGraph } from "./agents/agent-kind.js";
import { stampOf } from "./conversation.js";
import { checkpointNotFound, forkExists, invalidPageToken } from "./errors.js";
import type { Interrupt } from "./run.js";
import type { RunStateUpdate, RunStateValue } from "./state.js";
import { messagesOf, type Threads, type ThreadView } from "./threads.js";

/** A state that a thread went through. */
export interface CheckpointView {
  readonly id: string;
  readonly parentId: string;
  /** "input", "loop", "update" or "fork". */
  readonly source: string;
  /** The steps that were to be done next. */
  readonly next: readonly string[];
  readonly runId: string;
  readonly messageCount: number;
  /** Milliseconds since the epoch. */
  readonly created: number;
}

/** A thread's state at a checkpoint. */
export interface StateView {
  readonly checkpoint: CheckpointView;
  readonly agentType: string;
  readonly messages: readonly BaseMessage[];
  /** The work on the last question. */
  readonly values: JsonObject;
  readonly interrupts: readonly Interrupt[];
}

/** A change of a state. */
export interface StateChange {
  /** Replace those of the same id; the others are added. */
  readonly messages: readonly { readonly id: string; readonly role: string; readonly content: string }[];
  readonly removed: readonly string[];
  readonly values: JsonObject;
}

const DEFAULT_PAGE = 50;
/** LangGraph's channel of what a run asks. */
const INTERRUPT = "__interrupt__";

/** What of a state may be replaced from outside. */
const replaceable = z.strictObject({
  question: z.string().max(32_768).optional(),
  notes: z.string().max(65_536).optional(),
  parts: z.array(z.string().max(8_192)).max(100).optional(),
});

export interface ThreadStatesOptions {
  saver: GrpcCheckpointSaver;
  threads: Threads;
  clock: Clock;
  graphOf: (agentType: string) => AgentGraph;
}

/** The states that threads went through. All reject with NOT_FOUND when there is no such thread or checkpoint. */
export class ThreadStates {
  readonly #options: ThreadStatesOptions;

  constructor(options: ThreadStatesOptions) {
    this.#options = options;
  }

  /** A page of a thread's states, newest first. */
  async list(thread: string, pageSize: number, pageToken: string): Promise<{ checkpoints: CheckpointView[]; nextPageToken: string }> {
    const { holder } = await this.#options.threads.get(thread);
    const size = pageSize === 0 ? DEFAULT_PAGE : pageSize;
    const before = pageToken === "" ? {} : { before: { configurable: { thread_id: holder, checkpoint_id: idOfToken(pageToken) } } };
    const checkpoints: CheckpointView[] = [];
    const root = { configurable: { thread_id: holder, checkpoint_ns: "" } };
    for await (const tuple of this.#options.saver.list(root, { limit: size + 1, ...before })) checkpoints.push(viewOf(tuple));
    const page = checkpoints.slice(0, size);
    return { checkpoints: page, nextPageToken: checkpoints.length > size ? (page.at(-1)?.id ?? "") : "" };
  }

  /** @param checkpointId empty for the newest. */
  async get(thread: string, checkpointId: string): Promise<StateView> {
    const view = await this.#options.threads.get(thread);
    const tuple = await this.#tuple(view, checkpointId);
    const state = tuple.checkpoint.channel_values as Partial<RunStateValue>;
    const graph = this.#options.graphOf(state.settings?.agent ?? view.agentType);
    const { tasks } = await graph.getState(tuple.config);
    return {
      checkpoint: viewOf(tuple),
      agentType: state.settings?.agent ?? view.agentType,
      messages: messagesOf(tuple),
      values: valuesOf(state),
      interrupts: tasks.flatMap((task) => task.interrupts as Interrupt[]),
    };
  }

  /** Changes the newest state. Its caller holds the thread. */
  async update(thread: string, change: StateChange): Promise<void> {
    const view = await this.#options.threads.get(thread);
    const checked = replaceable.safeParse(change.values);
    if (!checked.success) throw invalidField("values", z.prettifyError(checked.error));
    const known = new Set(view.messages.map(({ id }) => id));
    const missing = change.removed.find((id) => !known.has(id));
    if (missing !== undefined) throw invalidField("removed_message_ids", `the thread has no message ${missing}`);
    const messages = [
      ...(view.isStored ? [] : view.messages),
      ...change.messages.map((message) => this.#message(message)),
      ...change.removed.map((id) => new RemoveMessage({ id })),
    ];
    const values = Object.fromEntries(Object.entries(checked.data).filter(([, value]) => value !== undefined));
    const update: RunStateUpdate = { ...values, ...(messages.length > 0 && { messages }) };
    const graph = this.#options.graphOf(view.agentType);
    const config = { configurable: { thread_id: thread } };
    const { next } = await graph.getState(config);
    // While steps are left, the change is made as if the step before them had made it; afterwards as a new beginning.
    if (next.length > 0) await graph.updateState(config, update);
    else await this.#atEnd(graph, view, update);
  }

  /** Makes a thread of a state. Rejects with ALREADY_EXISTS when there is such a thread. */
  async fork(thread: string, checkpointId: string, newThreadId: string): Promise<ThreadView> {
    const { saver, threads } = this.#options;
    const target = newThreadId === "" ? randomUUID() : newThreadId;
    if ((await threads.find(target)) !== undefined) throw forkExists(target);
    const view = await threads.get(thread);
    const tuple = await this.#tuple(view, checkpointId);
    const config = { configurable: { thread_id: target, checkpoint_ns: "" } };
    const { channel_values, channel_versions } = tuple.checkpoint;
    // Answers in the cache are the other thread's to forget.
    const messages = ((channel_values["messages"] ?? []) as BaseMessage[]).map(withoutCachePlace);
    const checkpoint = { ...tuple.checkpoint, channel_values: { ...channel_values, messages } };
    const metadata = { source: "fork", step: tuple.metadata?.step ?? 0, parents: {} } as const;
    const stored = await saver.put(config, checkpoint, metadata, channel_versions);
    // What the run asks goes along; what its next steps did is left behind, for they are done anew.
    const pending = (tuple.pendingWrites ?? []).filter(([, channel]) => channel === INTERRUPT);
    for (const task of new Set(pending.map(([id]) => id))) {
      const writes = pending.filter(([id]) => id === task).map(([, channel, value]): PendingWrite => [channel, value]);
      await saver.putWrites(stored, writes, task);
    }
    return threads.get(target);
  }

  async #tuple({ id, holder }: ThreadView, checkpointId: string): Promise<CheckpointTuple> {
    const named = checkpointId === "" ? {} : { checkpoint_id: checkpointId };
    const tuple = await this.#options.saver
      .getTuple({ configurable: { thread_id: holder, checkpoint_ns: "", ...named } })
      .catch((error: unknown) => {
        if (hasCode(error, Code.InvalidArgument)) return undefined;
        throw error;
      });
    if (tuple === undefined) throw checkpointNotFound(id, checkpointId);
    return tuple;
  }

  /** Nothing follows from the change: it is made as if the last step had made it, whose edges lead to the end. */
  async #atEnd(graph: AgentGraph, view: ThreadView, update: RunStateUpdate): Promise<void> {
    const config = { configurable: { thread_id: view.id } };
    const last = lastNodeOf(graph);
    await graph.updateState(config, update, last);
    await graph.updateState(config, null, "__end__");
  }

  #message({ id, role, content }: StateChange["messages"][number]): BaseMessage {
    const fields = { id: id === "" ? randomUUID() : id, content, response_metadata: { ragents: { created: this.#options.clock.now() } } };
    return role === "user" ? new HumanMessage(fields) : new AIMessage(fields);
  }
}

function viewOf({ config, checkpoint, metadata, parentConfig, ...tuple }: CheckpointTuple): CheckpointView {
  const state = checkpoint.channel_values as Partial<RunStateValue>;
  return {
    id: String(config.configurable?.["checkpoint_id"] ?? ""),
    parentId: String(parentConfig?.configurable?.["checkpoint_id"] ?? ""),
    source: metadata?.source ?? "",
    next: nextOf(checkpoint.channel_values),
    runId: state.run ?? "",
    messageCount: messagesOf({ config, checkpoint, ...tuple }).length,
    created: Date.parse(checkpoint.ts),
  };
}

/** LangGraph leads to a node by a value in a channel of its name; it is gone when the node was run. */
function nextOf(values: Record<string, unknown>): string[] {
  const branches = Object.keys(values).filter((channel) => channel.startsWith("branch:to:"));
  const sends = ((values[TASKS] ?? []) as { node: string }[]).map(({ node }) => node);
  return [...("__start__" in values ? ["__start__"] : []), ...branches.map((channel) => channel.slice("branch:to:".length)), ...sends];
}

/** The plain values, for people to read: no messages, and nothing of the machinery. */
function valuesOf({ question = "", notes = "", parts = [], passages = [], trail = [], analysis = null, reply = null }: Partial<RunStateValue>) {
  const found = passages.map(({ documentId, chunkId, score }) => ({ document_id: documentId, chunk_id: chunkId, score }));
  return JSON.parse(JSON.stringify({ question, notes, parts, passages: found, trail, analysis, response: reply?.text ?? "" })) as { [key: string]: JsonValue };
}

function withoutCachePlace(message: BaseMessage): BaseMessage {
  const { cachedIn, ...stamp } = stampOf(message);
  if (cachedIn !== undefined) message.response_metadata = { ...message.response_metadata, ragents: stamp };
  return message;
}

function lastNodeOf(graph: AgentGraph): string {
  return Object.keys(graph.nodes).filter((name) => name !== "__start__").at(-1) ?? "";
}

function idOfToken(token: string): string {
  if (!/^[\w-]+$/.test(token)) throw invalidPageToken();
  return token;
}
