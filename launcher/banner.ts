import type { RunningService } from "../runtime/service.js";
import { VERSION } from "../runtime/version.js";

/** What `npm start` prints: where the mesh listens, what is configured, and what to try. */
export function banner(mesh: {
  services: readonly RunningService[];
  probes: string;
  folder: string;
  env: NodeJS.ProcessEnv;
  /** Whether clients must show who they are. */
  authenticates: boolean;
}): string {
  const addressOf = (name: string) => mesh.services.find((service) => service.name === name)?.address ?? "";
  const gateway = `http://${addressOf("gateway")}`;
  const api = gateway === "http://127.0.0.1:8080" ? "" : ` --url ${gateway}`;
  const grpc = mesh.services.filter(({ name }) => name !== "gateway").map(({ name, address }) => `${name} ${address}`);
  return `RAGents Mesh ${VERSION}

  REST, Connect   ${gateway}   (API description: ${gateway}/openapi.json)
  gRPC            ${grpc.join(", ")}
  metrics         http://${mesh.probes}/metrics   (probes: /livez, /readyz)
  data            ${mesh.folder}
  answers by      ${model(mesh.env)}
  identity        ${mesh.authenticates ? "callers need an API key: the commands read it from RAGENTS_API_KEY" : "one tenant, no keys: only this machine is served"}

Try, in a second terminal:
  npx ragents ingest${api} docs services README.md
  npx ragents ask${api} "How does the rate limiter decide?"
`;
}

function model(env: NodeJS.ProcessEnv): string {
  if (env["OPENAI_API_KEY"] || env["OPENAI_BASE_URL"]) {
    return `${env["OPENAI_MODEL"] ?? "the default model"} at ${env["OPENAI_BASE_URL"] ?? "OpenAI"}`;
  }
  if (env["ANTHROPIC_API_KEY"]) return "Anthropic";
  return "the built-in extractive answerer (set OPENAI_API_KEY or OPENAI_BASE_URL for a language model)";
}
