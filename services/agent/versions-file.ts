import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { parse } from "yaml";
import { z } from "zod";
import { type ConfigOverrides, ConfigOverridesSchema } from "../../gen/ragents/agent/v1/agent_pb.js";
import { ConfigError } from "../../runtime/config.js";
import type { Models } from "../../runtime/llm/models.js";
import { type Prompt, type PromptName, readPrompt } from "../../runtime/llm/prompts.js";
import { messageCheck } from "../../runtime/validation.js";
import { checkAgentConfig } from "./agents/agent-config.js";
import type { AgentKind } from "./agents/agent-kind.js";
import { agentVersion, type AgentVersion, AgentVersions } from "./agent-versions.js";

const weight = z.number("give a number").min(0, "give 0 or more").max(1_000_000, "give at most 1000000");
const fileSchema = z.record(
  z.string(),
  z.array(z.strictObject({ weight, prompts: z.record(z.string(), z.string()).default({}), settings: z.json().optional() }), "give a list of versions").min(1, "give at least one version"),
  "give agents with their versions",
);

/**
 * The versions of agents, by a YAML file that the service's README describes. An agent that it does not name, and every one without a
 * file, has one version: the one that comes with the package. Throws ConfigError naming the place and what is wrong there.
 */
export async function loadVersions(path: string | undefined, kinds: readonly AgentKind[], models: Models): Promise<AgentVersions> {
  if (path === undefined) return new AgentVersions(kinds.map((kind) => agentVersion(kind)));
  let text: string;
  let data: unknown;
  try {
    text = await readFile(path, "utf8");
    data = parse(text) ?? {};
  } catch (cause) {
    throw wrong("cannot be read", cause);
  }
  const file = fileSchema.safeParse(data);
  if (!file.success) throw wrong(`\n${z.prettifyError(file.error)}`);
  const stranger = Object.keys(file.data).find((type) => !kinds.some((kind) => kind.type === type));
  if (stranger !== undefined) throw wrong(`there is no agent ${stranger}; known: ${kinds.map(({ type }) => type).join(", ")}`);
  return new AgentVersions(
    kinds.flatMap((kind) => {
      const own = file.data[kind.type];
      if (own === undefined) return [agentVersion(kind)];
      const versions = own.map(({ weight, prompts, settings }, i) => {
        const at = `${kind.type}[${i}]`;
        return agentVersion(kind, { weight, prompts: readPrompts(prompts, kind, dirname(path), at), settings: readSettings(settings, kind, models, at) });
      });
      checkTogether(kind.type, versions);
      return versions;
    }),
  );
}

function checkTogether(type: string, versions: readonly AgentVersion[]): void {
  if (versions.every(({ weight }) => weight === 0)) throw wrong(`${type}: one version needs a weight above 0`);
  const twice = versions.find(({ version }, i) => versions.findIndex((other) => other.version === version) < i);
  if (twice !== undefined) throw wrong(`${type}: the version ${twice.version} is there twice; change its prompts or its settings`);
}

function readPrompts(files: Record<string, string>, kind: AgentKind, folder: string, at: string): Partial<Record<PromptName, Prompt>> {
  return Object.fromEntries(
    Object.entries(files).map(([name, file]) => {
      const known = kind.prompts.find((one) => one === name);
      if (known === undefined) throw wrong(`${at}.prompts: the agent has no prompt ${name}; known: ${kind.prompts.join(", ") || "none"}`);
      try {
        return [known, readPrompt(known, resolve(folder, file))];
      } catch (cause) {
        throw wrong(`${at}.prompts.${name}: ${file}`, cause);
      }
    }),
  );
}

function readSettings(settings: JsonValue | undefined, kind: AgentKind, models: Models, at: string): ConfigOverrides | undefined {
  if (settings === undefined) return undefined;
  try {
    const overrides = fromJson(ConfigOverridesSchema, settings);
    messageCheck()(ConfigOverridesSchema, overrides);
    if (overrides.bypassCache !== undefined) throw new Error("bypass_cache is for requests alone");
    if (overrides.agentConfig !== undefined) checkAgentConfig(kind, { agentConfig: overrides.agentConfig });
    overrides.model = overrides.model === undefined ? undefined : models.nameOf(overrides.model);
    return overrides;
  } catch (cause) {
    throw wrong(`${at}.settings`, cause);
  }
}

function wrong(problem: string, cause?: unknown): ConfigError {
  const why = cause === undefined ? "" : `: ${cause instanceof Error ? cause.message : String(cause)}`;
  return new ConfigError(`RAGENTS_AGENT_VERSIONS: ${problem}${why}`, { cause });
}
