import { createClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { AgentService } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";

/** What a page in a browser does with the mesh; the test calls it there. */
async function tryMesh(baseUrl: string, protocol: "connect" | "grpc-web", apiKey?: string) {
  const withKey: Interceptor = (next) => (request) => {
    if (apiKey !== undefined) request.header.set("authorization", `Bearer ${apiKey}`);
    return next(request);
  };
  const options = { baseUrl, interceptors: [withKey] };
  const transport = protocol === "connect" ? createConnectTransport(options) : createGrpcWebTransport(options);
  const agent = createClient(AgentService, transport);
  const rag = createClient(RagService, transport);
  const { agents } = await agent.listAgents({});
  let text = "";
  let response = "";
  for await (const { event } of agent.streamQuery({ query: "What does the otter eat?" })) {
    if (event.case === "token") text += event.value.text;
    if (event.case === "result") response = event.value.response;
  }
  const error = await rag.getCollection({ collection: "none" }).then(
    () => "none",
    (failure: unknown) => String(failure),
  );
  return { agents: agents.map(({ agentType }) => agentType), text, response, error };
}

(globalThis as { tryMesh?: unknown }).tryMesh = tryMesh;
