import { type Client, createClient } from "@connectrpc/connect";
import { AgentService } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { channelSecurity, type ClientSecurityOptions } from "../../runtime/channel-security.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";

export { followQuery, type FollowOptions } from "./follow.js";

/** The RPCs of ragents.agent.v1.AgentService. A stream is given up by aborting its signal. */
export interface AgentClient extends Client<typeof AgentService> {
  close(): void;
}

export interface AgentClientOptions extends ClientSecurityOptions {
  /** Where the service is: host:port, or dns:///name:port for every replica of it. Default 127.0.0.1:9105. */
  address?: string;
  /** Deadline of a call that is given none, in milliseconds. Default 300,000, the longest that an agent runs. */
  timeoutMs?: number;
}

/** A client of the agent service. It connects when it is first used. */
export function createAgentClient(options: AgentClientOptions = {}): AgentClient {
  const transport = createGrpcTransport({
    address: options.address ?? "127.0.0.1:9105",
    services: [AgentService],
    defaultTimeoutMs: options.timeoutMs ?? 300_000,
    security: channelSecurity(options),
  });
  return { ...createClient(AgentService, transport), close: () => transport.close() };
}
