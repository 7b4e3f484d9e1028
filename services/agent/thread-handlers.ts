import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { AgentService } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { messagePage } from "./message-page.js";
import { toCheckpoint, toInterrupt, toMessage, toThread } from "./messages.js";
import type { Runs } from "./runs.js";
import type { StateView, ThreadStates } from "./thread-states.js";
import type { ThreadLocks } from "./thread-locks.js";
import type { Threads } from "./threads.js";

export interface ThreadHandlerDeps {
  runs: Runs;
  threads: Threads;
  states: ThreadStates;
  locks: ThreadLocks;
}

type Methods =
  | "listThreads"
  | "getThread"
  | "deleteThread"
  | "listThreadMessages"
  | "listCheckpoints"
  | "getThreadState"
  | "updateThreadState"
  | "forkThread";

/** What the agent service tells of threads, and lets be changed of them. */
export function threadHandlers({ runs, threads, states, locks }: ThreadHandlerDeps): Pick<ServiceImpl<typeof AgentService>, Methods> {
  return {
    async listThreads(request) {
      const page = await threads.list(request);
      return { threads: page.threads.map(toSummary), nextPageToken: page.nextPageToken };
    },
    getThread: async ({ thread }) => ({ thread: toThread(await threads.get(thread)) }),
    async deleteThread({ thread }, context) {
      await runs.forget(thread, context.signal);
      return {};
    },
    async listThreadMessages({ thread, pageSize, pageToken }) {
      const { messages } = await threads.get(thread);
      const page = messagePage(messages, pageSize, pageToken);
      return { messages: page.messages.map(toMessage), nextPageToken: page.nextPageToken };
    },
    async listCheckpoints({ thread, pageSize, pageToken }) {
      const { checkpoints, nextPageToken } = await states.list(thread, pageSize, pageToken);
      return { checkpoints: checkpoints.map(toCheckpoint), nextPageToken };
    },
    getThreadState: async ({ thread, checkpointId }) => ({ state: toState(await states.get(thread, checkpointId)) }),
    async updateThreadState({ thread, messages, removedMessageIds: removed, values = {} }, context) {
      const change = { messages, removed, values };
      await threads.get(thread);
      for await (const _ of locks.hold(thread, "reject", context.signal, async function* () {
        yield await states.update(thread, change);
      }));
      return { state: toState(await states.get(thread, "")) };
    },
    forkThread: async ({ thread, checkpointId, newThreadId }) => ({ thread: toThread(await states.fork(thread, checkpointId, newThreadId)) }),
  };
}

function toState({ checkpoint, agentType, messages, values, interrupts }: StateView) {
  return {
    checkpoint: toCheckpoint(checkpoint),
    agentType,
    messages: messages.map(toMessage),
    values,
    interrupts: interrupts.map(toInterrupt),
  };
}

function toSummary(thread: Awaited<ReturnType<Threads["list"]>>["threads"][number]) {
  return {
    id: thread.threadId,
    createTime: timestampFromDate(thread.createdAt),
    updateTime: timestampFromDate(thread.updatedAt),
    checkpointCount: BigInt(thread.checkpointCount),
  };
}
