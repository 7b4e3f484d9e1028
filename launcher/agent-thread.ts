import type { MetricObjectWithValues, MetricValue } from "prom-client";
import { AgentService } from "../gen/ragents/agent/v1/agent_service_pb.js";
import type { Identity } from "../runtime/call-context.js";
import { ConfigError } from "../runtime/config.js";
import { toMeshError } from "../runtime/errors.js";
import { toStatusBytes } from "../runtime/grpc-status.js";
import type { MeshSecurity } from "../runtime/mesh-security.js";
import type { RunningService } from "../runtime/service.js";
import { type PortCalls, portCalls } from "../runtime/threads/port-calls.js";
import { startThread } from "../runtime/threads/start-thread.js";
import type { AgentStart, AgentThreadHandlers } from "./agent-thread-main.js";

/** What the thread asks of the process. */
export type ProcessHandlers = {
  /** Who calls an RPC of the agent service, by the metadata of the call; or why nobody does, as google.rpc.Status. */
  identify(header: [name: string, value: string][], rpc: string): Promise<{ readonly identity: Identity } | { readonly refusal: Uint8Array }>;
};

/** A thread for the agent service, which loads its program while the other services start. */
export class AgentThread {
  readonly #thread = startThread("./agent-thread-main.js", import.meta.url);
  readonly #ask: PortCalls<AgentThreadHandlers>;
  #identify: MeshSecurity["identify"] | undefined;

  /** A fault that would end the process ends it from the thread, too. */
  constructor() {
    const { ask, end } = portCalls<AgentThreadHandlers>(this.#thread, { identify: this.#identified.bind(this) } satisfies ProcessHandlers);
    this.#ask = ask;
    this.#thread.on("error", (error) => {
      end(error);
      throw error;
    });
    this.#thread.once("exit", () => end(new Error("the thread of the agent service has ended")));
  }

  /**
   * Starts the service. Throws ConfigError.
   * @param identify who calls, where no service vouches for the caller
   */
  async start(start: AgentStart, identify: MeshSecurity["identify"]): Promise<RunningService> {
    this.#identify = identify;
    const started = await this.#ask.start(start);
    if ("wrong" in started) throw new ConfigError(started.wrong);
    return { name: "agent", address: started.address, notReady: () => this.#ask.notReady(), stop: (graceMs) => this.#ask.stop(graceMs) };
  }

  /** What the thread has counted. */
  metrics(): Promise<MetricObjectWithValues<MetricValue<string>>[]> {
    return this.#ask.metrics();
  }

  /** Ends the thread, when its service has been stopped. */
  async close(): Promise<void> {
    await this.#thread.terminate();
  }

  async #identified(header: [name: string, value: string][], rpc: string): ReturnType<ProcessHandlers["identify"]> {
    try {
      const method = AgentService.methods.find(({ name }) => name === rpc)!;
      return { identity: await this.#identify!(new Headers(header), method) };
    } catch (error) {
      return { refusal: toStatusBytes(toMeshError(error)) };
    }
  }
}
