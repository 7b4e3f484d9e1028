import { toJson } from "@bufbuild/protobuf";
import { ConfigOverridesSchema } from "../gen/ragents/agent/v1/agent_pb.js";
import { AgentService } from "../gen/ragents/agent/v1/agent_service_pb.js";
import type { Mesh } from "./connection.js";

/** Lists the agents with the versions that serve, their prompts and settings, and the language models. */
export async function listAgents({ agent }: Pick<Mesh, "agent">, options: { json?: boolean }): Promise<void> {
  const list = await agent.listAgents({});
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(toJson(AgentService.method.listAgents.output, list, { useProtoFieldName: true }), null, 2)}\n`);
    return;
  }
  const lines = list.agents.flatMap(({ agentType, description, versions }) => {
    const total = versions.reduce((sum, { weight }) => sum + weight, 0);
    return [
      `${agentType}  ${description}`,
      ...versions.flatMap(({ version, weight, prompts, settings }) => [
        `  ${agentType}@${version}  ${Math.round((100 * weight) / total)} % of new threads`,
        ...(prompts.length > 0 ? [`    prompts   ${prompts.join(" ")}`] : []),
        ...(settings === undefined ? [] : [`    settings  ${JSON.stringify(toJson(ConfigOverridesSchema, settings, { useProtoFieldName: true }))}`]),
      ]),
    ];
  });
  const models = list.models.map(({ name, version }, i) => `  ${name}@${version}${i === 0 ? "  default" : ""}`);
  process.stdout.write(`${[...lines, "Models", ...models].join("\n")}\n`);
}
