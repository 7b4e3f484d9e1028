import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { JsonObject } from "@bufbuild/protobuf";
import { z } from "zod";
import { ConfigError } from "../../../runtime/config.js";
import type { AgentKind } from "./agent-kind.js";
import { type GraphAgent, graphAgent } from "./graph-agent.js";

const shape = z.object({
  type: z.string().regex(/^[a-z][a-z0-9_-]{0,63}$/, "give a lower-case letter, then letters, digits, '_' and '-', at most 64"),
  description: z.string().min(1, "say what the agent does"),
  configSchema: z.looseObject({ type: z.literal("object", "give the JSON schema of an object") }).optional(),
  graph: z.custom<GraphAgent["graph"]>((value) => typeof value === "function", "give a function that returns a StateGraph"),
}, "give a default export { type, description, graph }");

/**
 * The agents of files: each one's default export is `{ type, description, graph, configSchema? }`, where `graph` is given
 * `{ search, tools }` and returns a StateGraph. Throws ConfigError naming the file and what is wrong with it.
 */
export async function loadAgents(files: readonly string[], known: readonly AgentKind[]): Promise<AgentKind[]> {
  const agents: AgentKind[] = [];
  for (const file of files) {
    const agent = await loadAgent(resolve(file));
    if ([...known, ...agents].some(({ type }) => type === agent.type)) throw wrong(file, `there is an agent ${agent.type} already`);
    agents.push(agent);
  }
  return agents;
}

async function loadAgent(path: string): Promise<AgentKind> {
  const [module, text] = await Promise.all([import(pathToFileURL(path).href), readFile(path)]).catch((cause: unknown) => {
    throw wrong(path, cause instanceof Error ? cause.message : String(cause), cause);
  });
  const parsed = shape.safeParse((module as { default?: unknown }).default);
  if (!parsed.success) throw wrong(path, z.prettifyError(parsed.error));
  const { configSchema, ...agent } = parsed.data;
  // What a schema does not name is refused, unless it says otherwise.
  const schema = configSchema && { additionalProperties: false, ...configSchema };
  try {
    if (schema !== undefined) z.fromJSONSchema(schema);
  } catch (cause) {
    throw wrong(path, `configSchema: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  const version = `${agent.type}-${createHash("sha256").update(text).digest("hex").slice(0, 16)}`;
  return graphAgent({ ...agent, configSchema: schema as JsonObject | undefined, version });
}

function wrong(path: string, problem: string, cause?: unknown): ConfigError {
  return new ConfigError(`RAGENTS_AGENT_GRAPHS: ${basename(path)}: ${problem}`, { cause });
}
