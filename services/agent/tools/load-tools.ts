import { readdir } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { ConfigError } from "../../../runtime/config.js";
import type { Tool } from "./tool.js";

const toolShape = z.object({
  name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/, "give letters, digits, '_' and '-', at most 64"),
  description: z.string().min(1, "say what the tool does"),
  parameters: z.looseObject({ type: z.literal("object", "give the JSON schema of an object") }),
  needsApproval: z.boolean("give true or false").optional(),
  run: z.custom<Tool["run"]>((value) => typeof value === "function", "give a function"),
});

/**
 * The tools of a folder: each .js or .mjs file's default export is one. Throws ConfigError naming the file and what is
 * wrong with it.
 */
export async function loadTools(folder: string): Promise<Tool[]> {
  const files = await readdir(folder).catch((cause: unknown) => {
    throw new ConfigError(`RAGENTS_AGENT_TOOLS: the folder ${folder} cannot be read`, { cause });
  });
  const tools: Tool[] = [];
  for (const file of files.filter((name) => /\.m?js$/.test(name)).sort()) {
    const tool = await loadTool(resolve(folder, file), file);
    if (tools.some(({ name }) => name === tool.name)) throw wrong(file, `another file has a tool ${tool.name} already`);
    tools.push(tool);
  }
  return tools;
}

async function loadTool(path: string, file: string): Promise<Tool> {
  const module = await import(pathToFileURL(path).href).catch((cause: unknown) => {
    throw wrong(file, cause instanceof Error ? cause.message : String(cause), cause);
  });
  const parsed = toolShape.safeParse((module as { default?: unknown }).default);
  if (!parsed.success) throw wrong(file, z.prettifyError(parsed.error));
  try {
    z.fromJSONSchema(parsed.data.parameters);
  } catch (cause) {
    throw wrong(file, `parameters: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  return parsed.data;
}

function wrong(file: string, problem: string, cause?: unknown): ConfigError {
  return new ConfigError(`RAGENTS_AGENT_TOOLS: ${file}: ${problem}`, { cause });
}
