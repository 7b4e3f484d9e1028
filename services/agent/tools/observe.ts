import { z } from "zod";
import type { Passage } from "../../../runtime/llm/answerer.js";
import { numberedPassage } from "../../../runtime/llm/prompt.js";
import { reasonOf } from "../../../runtime/errors.js";
import { unlessAborted } from "../../../runtime/unless-aborted.js";
import type { RunSettings } from "../settings.js";
import type { Tool, ToolOutput } from "./tool.js";

/** What came of a tool call. */
export interface Observation {
  readonly text: string;
  readonly failed: boolean;
  /** Passages that it found, for the answer to cite. */
  readonly passages: readonly Passage[];
}

/** Longest text that a model is shown of one call, in characters. */
const MAX_LENGTH = 16_000;
/** Time that one call may take, in milliseconds. */
export const TOOL_TIMEOUT_MS = 30_000;

const REQUEST_FAULTS = new Set(["COLLECTION_NOT_FOUND", "INVALID_FILTER"]);

/** A call as a model asks for it. */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly args: unknown;
}

/**
 * Runs a tool for a model. Wrong arguments, an unknown tool, a failure, a timeout and a flood of text are all things for
 * the model to see and work around. Rejects only when the run
 * is over, or the request itself is at fault.
 * @param timeoutMs time that the call may take.
 */
export async function observe(
  call: ToolCall,
  tools: readonly Tool[],
  run: { settings: RunSettings; signal: AbortSignal },
  timeoutMs = TOOL_TIMEOUT_MS,
): Promise<Observation> {
  const tool = tools.find(({ name }) => name === call.name);
  if (tool === undefined) return failure(`There is no tool ${call.name}; known: ${tools.map(({ name }) => name).join(", ")}.`);
  const args = z.fromJSONSchema(tool.parameters).safeParse(call.args);
  if (!args.success) return failure(`The arguments are wrong: ${z.prettifyError(args.error)}`);
  const expired = new AbortController();
  const timer = setTimeout(() => expired.abort(new Error(`it took longer than ${timeoutMs / 1000} s`)), timeoutMs);
  const signal = AbortSignal.any([run.signal, expired.signal]);
  try {
    const output = await unlessAborted(tool.run(args.data as Record<string, unknown>, { ...run, signal }), signal);
    return success(output);
  } catch (error) {
    run.signal.throwIfAborted();
    // Not the model's to work around: the request itself names what is not there.
    if (REQUEST_FAULTS.has(reasonOf(error) ?? "")) throw error;
    return failure(`The tool failed: ${described(signal.aborted ? signal.reason : error)}`);
  } finally {
    clearTimeout(timer);
  }
}

/** The passages as a model is shown them, numbered on from those found before. */
export function numbered(passages: readonly Passage[], firstNumber: number): string {
  if (passages.length === 0) return "Nothing was found.";
  return passages.map((passage, i) => numberedPassage(passage, firstNumber + i)).join("\n");
}

function success(output: ToolOutput): Observation {
  if (typeof output === "object" && output !== null && "passages" in output) {
    return { text: "", failed: false, passages: output.passages as Passage[] };
  }
  const text = typeof output === "string" ? output : (JSON.stringify(output) ?? "Done.");
  return { text: cut(text), failed: false, passages: [] };
}

function failure(text: string): Observation {
  return { text: cut(text), failed: true, passages: [] };
}

function cut(text: string): string {
  return text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH)}\n(${text.length - MAX_LENGTH} more characters were cut)`;
}

/** Our services' errors and a tool's own message are made to be read; a stack is not. */
function described(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return reasonOf(error) === "INTERNAL" ? "an internal error" : error.message;
}
