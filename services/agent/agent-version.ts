import { createHash } from "node:crypto";
import type { AgentKind } from "./agents/agent-kind.js";
import { unknownAgent, unknownAgentVersion } from "./errors.js";

/** A kind's version as requests may name it: eight hexadecimal digits. */
export function shortVersion({ version }: Pick<AgentKind, "version">): string {
  return createHash("sha256").update(version).digest("hex").slice(0, 8);
}

/** The type that "TYPE" or "TYPE@VERSION" names. Throws INVALID_ARGUMENT when there is none, or none of this version. */
export function agentTypeOf(name: string, kinds: readonly AgentKind[]): string {
  const [type = "", version] = name.split("@", 2);
  const kind = kinds.find((known) => known.type === type);
  if (kind === undefined) throw unknownAgent(name, kinds.map((known) => known.type));
  if (version !== undefined && version !== shortVersion(kind)) throw unknownAgentVersion(type, version, shortVersion(kind));
  return type;
}
