import type { CacheScope } from "../../clients/cache/index.js";
import { currentViewer } from "../../runtime/identity/viewer.js";
import type { Knowledge } from "./epochs.js";
import type { RunSettings } from "./settings.js";
import type { RunAnswer } from "./state.js";

/** An answer that may be given again: what it cost is not part of it. */
export interface StoredAnswer extends Pick<RunAnswer, "text" | "citations" | "model" | "modelVersion" | "agentVersion" | "analysis"> {
  /** What threads with this answer grow from, and the run that is told of in them; null when it could not be stored. */
  readonly seed: { readonly id: string; readonly run: string } | null;
}

/** Changes with the form of what is stored. */
const FORMAT = 3;

/** What an answer to the current caller's question without history depends on, besides the question and the tenant. */
export function answerScope(settings: RunSettings, modelVersion: string, { epoch, restricted }: Knowledge): CacheScope {
  const { collection, model, topK, mode, filters, ranking, rewriteStrategy, temperature, maxTokens, logicalLlm, instructions } = settings;
  const parameters = JSON.stringify({
    format: FORMAT,
    agent: settings.agent,
    version: settings.version,
    modelVersion,
    topK,
    mode,
    filters: canonical(filters),
    ranking: canonical(ranking),
    rewriteStrategy,
    temperature,
    maxTokens,
    logicalLlm,
    ...(settings.agentConfig !== null && { agentConfig: canonical(settings.agentConfig) }),
    ...(instructions !== "" && { instructions }),
    // Documents that one may read must not speak through the answers of another.
    ...(restricted && { viewer: currentViewer() ?? "all" }),
  });
  return { collection, epoch, model, parameters };
}

/** The question as it is looked up: white space says nothing. */
export function answerKey(question: string): string {
  return question.trim().replace(/\s+/g, " ");
}

export function encodeAnswer({ text, citations, model, modelVersion, agentVersion, analysis, seed }: StoredAnswer): Uint8Array {
  return Buffer.from(JSON.stringify({ text, citations, model, modelVersion, agentVersion, analysis, seed }));
}

export function decodeAnswer(value: Uint8Array): StoredAnswer {
  return JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("utf8")) as StoredAnswer;
}

/** The same filters in the same order of keys. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, canonical(item)]),
  );
}
