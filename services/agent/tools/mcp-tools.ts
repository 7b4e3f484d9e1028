import { readFile } from "node:fs/promises";
import { z } from "zod";
import { ConfigError } from "../../../runtime/config.js";
import { McpServer, type McpTool } from "./mcp-server.js";
import type { Tool } from "./tool.js";

/** Tools of MCP servers, and the end of the connections to them. */
export interface McpTools {
  readonly tools: Tool[];
  close(): Promise<void>;
}

/** Whether all tools of a server, or those that are named, need approval. */
const approval = { needs_approval: z.union([z.boolean(), z.array(z.string().min(1))]).default(false) };

const fileShape = z.strictObject({
  mcpServers: z
    .record(
      z.string(),
      z.union(
      [
        z.strictObject({
          command: z.string().min(1),
          args: z.array(z.string()).default([]),
          env: z.record(z.string(), z.string()).optional(),
          cwd: z.string().optional(),
          ...approval,
        }),
        z.strictObject({ url: z.url(), headers: z.record(z.string(), z.string()).optional(), ...approval }),
      ],
      "give command (and args, env, cwd) or url (and headers), and needs_approval if you like",
    ),
  ).refine((servers) => Object.keys(servers).every((name) => /^[a-zA-Z0-9-]{1,30}$/.test(name)), "name servers by letters, digits and '-', at most 30"),
});

/** Longest name that providers of models take. */
const MAX_NAME = 64;

/**
 * The tools of the MCP servers that a file names, as the "mcpServers" of other programs do; each is called SERVER__TOOL.
 * Throws ConfigError naming what is wrong with the file, or the server that cannot be reached.
 */
export async function connectMcpTools(path: string): Promise<McpTools> {
  const { mcpServers } = await readServers(path);
  const servers: McpServer[] = [];
  const close = async () => void (await Promise.all(servers.map((server) => server.close())));
  try {
    const tools: Tool[] = [];
    for (const [name, { needs_approval, ...options }] of Object.entries(mcpServers)) {
      const server = new McpServer(name, options);
      servers.push(server);
      tools.push(...(await server.tools()).map((tool) => toTool(server, tool, needs_approval)));
    }
    const long = tools.find(({ name }) => name.length > MAX_NAME);
    if (long !== undefined) throw new Error(`the tool ${long.name} has a name of more than ${MAX_NAME} characters; give its server a shorter one`);
    return { tools, close };
  } catch (cause) {
    await close();
    throw new ConfigError(`RAGENTS_AGENT_MCP: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

async function readServers(path: string): Promise<z.infer<typeof fileShape>> {
  let content: unknown;
  try {
    content = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw new ConfigError(`RAGENTS_AGENT_MCP: the file ${path} cannot be read as JSON`, { cause });
  }
  const parsed = fileShape.safeParse(content);
  if (!parsed.success) throw new ConfigError(`RAGENTS_AGENT_MCP: ${path}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

function toTool(server: McpServer, { name, description, schema }: McpTool, approvalOf: boolean | string[]): Tool {
  return {
    name: `${server.name}__${name}`,
    description: description === "" ? name : description,
    parameters: { type: "object", ...(schema as Record<string, unknown>) },
    needsApproval: Array.isArray(approvalOf) ? approvalOf.includes(name) : approvalOf,
    run: async (args, { signal }) => textOf(await server.call(name, args, signal)),
  };
}

/** What a server returns is text, or parts of which those that are text are kept. */
function textOf(output: unknown): string {
  if (typeof output === "string") return output;
  if (!Array.isArray(output)) return JSON.stringify(output) ?? "";
  return output.map((part: unknown) => (isText(part) ? part.text : JSON.stringify(part))).join("\n");
}

function isText(part: unknown): part is { text: string } {
  return typeof part === "object" && part !== null && "text" in part && typeof part.text === "string";
}
