import { createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { AgentService } from "../gen/ragents/agent/v1/agent_service_pb.js";
import { CacheService } from "../gen/ragents/cache/v1/cache_service_pb.js";
import { GatewayService } from "../gen/ragents/gateway/v1/gateway_service_pb.js";
import { IdentityService } from "../gen/ragents/gateway/v1/identity_service_pb.js";
import { RagService } from "../gen/ragents/rag/v1/rag_service_pb.js";

/** The services of a mesh, behind its one public address. */
export interface Mesh {
  readonly agent: ReturnType<typeof createClient<typeof AgentService>>;
  readonly rag: ReturnType<typeof createClient<typeof RagService>>;
  readonly cache: ReturnType<typeof createClient<typeof CacheService>>;
  readonly gateway: ReturnType<typeof createClient<typeof GatewayService>>;
  readonly identity: ReturnType<typeof createClient<typeof IdentityService>>;
  readonly transport: Transport;
}

/** Clients over the gateway at `baseUrl` that show `apiKey` where one is given. Connects with the first call. */
export function connect(baseUrl: string, apiKey?: string): Mesh {
  const transport = createConnectTransport({ baseUrl, httpVersion: "1.1", interceptors: apiKey === undefined ? [] : [authorized(apiKey)] });
  return {
    agent: createClient(AgentService, transport),
    rag: createClient(RagService, transport),
    cache: createClient(CacheService, transport),
    gateway: createClient(GatewayService, transport),
    identity: createClient(IdentityService, transport),
    transport,
  };
}

function authorized(apiKey: string): Interceptor {
  return (next) => (request) => {
    request.header.set("authorization", `Bearer ${apiKey}`);
    return next(request);
  };
}
