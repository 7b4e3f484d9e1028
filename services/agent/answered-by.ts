import type { AgentDeps } from "./agents/agent-kind.js";

/** Who wrote an answer: the model, and the versions of it and of the agent. */
export interface AnsweredBy {
  readonly model: string;
  /** Absent in answers that were stored before they said it. */
  readonly modelVersion?: string;
  readonly agentVersion?: string;
}

export function answeredBy({ models, version }: Pick<AgentDeps, "models" | "version">, model: string): Required<AnsweredBy> {
  return { model, modelVersion: models.versionOf(model), agentVersion: version };
}
