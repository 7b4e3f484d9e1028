import type { MetricObjectWithValues, MetricValue } from "prom-client";
import { AgentService } from "../gen/ragents/agent/v1/agent_service_pb.js";
import type { Identity } from "../runtime/call-context.js";
import { ConfigError } from "../runtime/config.js";
import { toMeshError } from "../runtime/errors.js";
import { toStatusBytes } from "../runtime/grpc-status.js";
import type { MeshSecurity } from "../runtime/mesh-security.js";
import type { RunningService } from "../runtime/service.js";
import { portCalls } from "../runtime/threads/port-calls.js";
import { startThread } from "../runtime/threads/start-thread.js";
import type { AgentThreadData, AgentThreadHandlers } from "./agent-thread.js";

/** What the thread asks of the process. */
export interface ProcessHandlers extends Record<string, (...args: never[]) => unknown> {
  /** Who calls an RPC of the agent service, by the metadata of the call; or why nobody does, as google.rpc.Status. */
  identify(header: [name: string, value: string][], rpc: string): Promise<{ readonly identity: Identity } | { readonly refusal: Uint8Array }>;
}

/** The agent service in a thread of its own. */
export interface AgentInThread extends RunningService {
  /** What the thread has counted. */
  metrics(): Promise<MetricObjectWithValues<MetricValue<string>>[]>;
}

/**
 * Starts the agent service in a thread: agents' work takes about as much of a processor as that of all other services together.
 * Throws ConfigError. A fault that would end the process ends it from there too.
 * @param identify who calls, where no service vouches for the caller
 */
export async function startAgentInThread(data: AgentThreadData, identify: MeshSecurity["identify"]): Promise<AgentInThread> {
  const thread = startThread("./agent-thread.js", import.meta.url, { workerData: data });
  const handlers: ProcessHandlers = {
    async identify(header, rpc) {
      try {
        const method = AgentService.methods.find(({ name }) => name === rpc)!;
        return { identity: await identify(new Headers(header), method) };
      } catch (error) {
        return { refusal: toStatusBytes(toMeshError(error)) };
      }
    },
  };
  const { ask, end } = portCalls<AgentThreadHandlers>(thread, handlers);
  thread.on("error", (error) => {
    end(error);
    throw error;
  });
  const started = await ask.start();
  if ("wrong" in started) {
    await thread.terminate();
    throw new ConfigError(started.wrong);
  }
  return {
    name: "agent",
    address: started.address,
    notReady: () => ask.notReady(),
    metrics: () => ask.metrics(),
    async stop(graceMs) {
      await ask.stop(graceMs);
      await thread.terminate();
    },
  };
}
