import type { Passage } from "../../../runtime/llm/answerer.js";
import type { ToolDefinition } from "../../../runtime/llm/language-model.js";
import type { RunSettings } from "../settings.js";

/** Something that a model may have done for it, and how it is done. */
export interface Tool extends ToolDefinition {
  /** Whether somebody has to approve of each call before it is made. Default false. */
  readonly needsApproval?: boolean | undefined;
  /**
   * Does it. What it returns is shown to the model as text or JSON; what it throws is shown as a failure.
   * @param args checked against `parameters`.
   */
  run(args: Record<string, unknown>, context: ToolContext): Promise<ToolOutput>;
}

/** What a tool knows of the run that it works for. */
export interface ToolContext {
  readonly settings: RunSettings;
  /** Aborts when the run ends or the tool has had its time. */
  readonly signal: AbortSignal;
}

/** Passages become citable; anything else is text to the model. */
export type ToolOutput = { passages: Passage[] } | string | number | boolean | object | null | undefined;
