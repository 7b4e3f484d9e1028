import { z } from "zod";
import { invalidField } from "../../../runtime/errors.js";
import type { RunSettings } from "../settings.js";
import type { AgentKind } from "./agent-kind.js";

const FIELD = "config_overrides.agent_config";

/** Throws INVALID_ARGUMENT unless what a request gives to the agent alone is what its schema says. */
export function checkAgentConfig({ type, configSchema }: Pick<AgentKind, "type" | "configSchema">, { agentConfig }: Pick<RunSettings, "agentConfig">): void {
  if (configSchema === undefined) {
    if (agentConfig !== null) throw invalidField(FIELD, `the agent ${type} takes none`);
    return;
  }
  const checked = z.fromJSONSchema(configSchema as z.core.JSONSchema.JSONSchema).safeParse(agentConfig ?? {});
  if (!checked.success) throw invalidField(FIELD, z.prettifyError(checked.error));
}
