import type { Client } from "@connectrpc/connect";
import type { AgentService } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import type { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import type { CallOptions } from "./chat-completions.js";
import { OpenAiError } from "./openai-error.js";

/** How the calls for a list of models are made: each service is told by its own headers who asks. */
export interface ModelSources {
  agent: Client<typeof AgentService>;
  rag: Client<typeof RagService>;
  agentCall: () => Promise<CallOptions>;
  ragCall: () => Promise<CallOptions>;
  /** What models are said to be made at, in seconds since the epoch. */
  created: number;
}

/** The agents, which answer chats, and the embedding models. */
export async function listModels({ agent, rag, agentCall, ragCall, created }: ModelSources) {
  const [{ agents }, { models }] = await Promise.all([
    agentCall().then((options) => agent.listAgents({}, options)),
    ragCall().then((options) => rag.listEmbeddingModels({}, options)),
  ]);
  const model = (id: string, own: object) => ({ id, object: "model", created, owned_by: "ragents", ...own });
  const data = [
    ...agents.map(({ agentType, description, version, versions }) =>
      model(agentType, { kind: "agent", version, versions: versions.map((one) => one.version), description }),
    ),
    ...models.map(({ name, dimension }) => model(name, { kind: "embedding", dimension })),
  ];
  return { object: "list", data };
}

/** One of them; agents also as "TYPE@VERSION". Throws 404 when there is none. */
export async function getModel(sources: ModelSources, id: string) {
  const { data } = await listModels(sources);
  const [type, version] = id.split("@", 2);
  const found = data.find((one) => one.id === id || (one.id === type && "versions" in one && (one.versions as string[]).includes(version ?? "")));
  if (found === undefined) {
    throw new OpenAiError(404, `There is no model ${JSON.stringify(id.slice(0, 100))}; known: ${data.map((one) => one.id).join(", ")}.`, "model", "model_not_found");
  }
  return { ...found, id };
}
