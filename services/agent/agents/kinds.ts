import type { AgentKind } from "./agent-kind.js";
import { langgraphAgent } from "./langgraph.js";
import { logicalAgent } from "./logical.js";
import { reactAgent } from "./react.js";
import { simpleAgent } from "./simple.js";

/** The agents that can be asked, by name. */
export const AGENT_KINDS: readonly AgentKind[] = [langgraphAgent, logicalAgent, reactAgent, simpleAgent];
