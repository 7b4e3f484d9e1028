import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { AgentDeps, AgentGraph } from "./agents/agent-kind.js";
import type { AgentVersion, AgentVersions } from "./agent-versions.js";
import { NewThreadSaver, RunSaver } from "./run-saver.js";
import type { RunRequest } from "./run.js";
import type { RunSettings } from "./settings.js";
import type { ThreadView } from "./threads.js";

/** What agents are built with besides what is their version's own. */
export type GraphDeps = Omit<AgentDeps, "prompts" | "version"> & { readonly checkpointer: BaseCheckpointSaver };

/** A version of an agent with its graph, for threads that exist and for those that do not. */
export interface Agent {
  readonly version: AgentVersion;
  readonly graph: AgentGraph;
  readonly newThreadGraph: AgentGraph;
  /** Remembers nothing. */
  readonly unstoredGraph: AgentGraph;
}

/** The graphs of all versions of all agents. */
export class AgentGraphs {
  readonly #versions: AgentVersions;
  readonly #agents: ReadonlyMap<AgentVersion, Agent>;

  constructor(versions: AgentVersions, deps: GraphDeps) {
    this.#versions = versions;
    const runSaver = new RunSaver(deps.checkpointer);
    const newThreadSaver = new NewThreadSaver(deps.checkpointer);
    this.#agents = new Map(
      versions.all.map((version) => {
        const build = (checkpointer: BaseCheckpointSaver | undefined) =>
          version.kind.build({ ...deps, checkpointer, prompts: version.prompts, version: version.version });
        return [version, { version, graph: build(runSaver), newThreadGraph: build(newThreadSaver), unstoredGraph: build(undefined) }];
      }),
    );
  }

  /** A kind of agent, in its version where this replica has that. Throws INVALID_ARGUMENT for an unknown kind. */
  of(type: string, version?: string): Agent {
    return this.#agents.get(this.#versions.orFirst(type, version)) as Agent;
  }

  /** A thread stays on the version that it is at, unless the request names another one, or there is none of it any more. */
  staying({ settings, settingsUnder }: RunRequest, thread: ThreadView | undefined): { agent: Agent; settings: RunSettings } {
    const asked = { agent: this.of(settings.agent, settings.version), settings };
    if (thread === undefined || settingsUnder === undefined || thread.agentType !== settings.agent || thread.agentVersion === settings.version) return asked;
    const version = this.#versions.of(settings.agent).find((known) => known.version === thread.agentVersion);
    return version === undefined ? asked : { agent: this.of(settings.agent, version.version), settings: settingsUnder(version) };
  }
}
