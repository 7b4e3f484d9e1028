import { createHash } from "node:crypto";
import { toJson } from "@bufbuild/protobuf";
import { type ConfigOverrides, ConfigOverridesSchema } from "../../gen/ragents/agent/v1/agent_pb.js";
import { BUILT_IN_PROMPTS, type Prompt, type PromptName, type Prompts } from "../../runtime/llm/prompts.js";
import type { AgentKind } from "./agents/agent-kind.js";
import { unknownAgent, unknownAgentVersion } from "./errors.js";

/** A kind of agent with the prompts and the settings that it answers with. */
export interface AgentVersion {
  readonly kind: AgentKind;
  /** Eight hexadecimal digits: a hash of the graph's version, its prompts and its settings. */
  readonly version: string;
  /** Its part of the new threads is this over the sum of its type's weights; with 0 it answers only who names it. */
  readonly weight: number;
  readonly prompts: Prompts;
  /** What holds where a request overrides nothing, in place of the defaults. */
  readonly settings: ConfigOverrides | undefined;
}

export interface NewVersion {
  readonly weight?: number;
  /** In place of the built-in ones. */
  readonly prompts?: Partial<Record<PromptName, Prompt>>;
  readonly settings?: ConfigOverrides | undefined;
}

/** A version of a kind of agent; without options the one that comes with the package. */
export function agentVersion(kind: AgentKind, { weight = 1, prompts: own = {}, settings }: NewVersion = {}): AgentVersion {
  const prompts = { ...BUILT_IN_PROMPTS, ...own };
  const ids = kind.prompts.map((name) => prompts[name].id);
  const parts = [kind.version, ids, settings === undefined ? null : toJson(ConfigOverridesSchema, settings)];
  const version = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 8);
  return { kind, version, weight, prompts, settings };
}

/** The versions of all agents that this replica serves. */
export class AgentVersions {
  readonly all: readonly AgentVersion[];
  readonly #byType = new Map<string, AgentVersion[]>();

  /** @param all at least one of each type with a weight above 0 */
  constructor(all: readonly AgentVersion[]) {
    this.all = all;
    for (const version of all) this.#byType.set(version.kind.type, [...(this.#byType.get(version.kind.type) ?? []), version]);
  }

  get types(): string[] {
    return [...this.#byType.keys()];
  }

  /** The versions of a type. Throws INVALID_ARGUMENT for an unknown one. */
  of(type: string): readonly AgentVersion[] {
    const versions = this.#byType.get(type);
    if (versions === undefined) throw unknownAgent(type, this.types);
    return versions;
  }

  /** What "TYPE" or "TYPE@VERSION" names. Throws INVALID_ARGUMENT naming the known ones when there is none, or none of this version. */
  named(name: string): { type: string; pinned: AgentVersion | undefined } {
    const [type = "", version] = name.split("@", 2);
    const versions = this.of(type);
    const pinned = versions.find((known) => known.version === version);
    if (version !== undefined && pinned === undefined) throw unknownAgentVersion(type, version, versions.map((known) => known.version));
    return { type, pinned };
  }

  /** The version of a type that serves somebody: by weight, and always the same while the weights are. */
  chosenFor(type: string, who: readonly string[]): AgentVersion {
    const versions = this.of(type);
    if (versions.length === 1) return versions[0] as AgentVersion;
    const total = versions.reduce((sum, { weight }) => sum + weight, 0);
    const hash = createHash("sha256").update(JSON.stringify([type, ...who])).digest();
    let left = (hash.readUInt32BE() / 2 ** 32) * total;
    // Sums of fractions may leave a remainder.
    const last = versions.findLast(({ weight }) => weight > 0);
    return versions.find(({ weight }) => (left -= weight) < 0) ?? (last as AgentVersion);
  }

  /** A version of a type, or the first one when this replica does not have it any more: runs go on that were begun with it. */
  orFirst(type: string, version: string | undefined): AgentVersion {
    const versions = this.of(type);
    return versions.find((known) => known.version === version) ?? (versions[0] as AgentVersion);
  }
}
