import { invalidEventId } from "./errors.js";
import type { RunEvent } from "./run.js";

/** How much of a run an event and those before it have told. */
export interface Position {
  readonly steps: number;
  /** Characters of the answer's text. */
  readonly characters: number;
  /** A 32-bit digest of that text: a later replica may have written another one. */
  readonly digest: number;
  readonly citations: number;
  /** Calls of tools and their results. */
  readonly tools: number;
  /** Events of other kinds: the start, interrupts, the usage and the result. */
  readonly marks: number;
}

/** FNV-1a's offset basis: the digest of nothing. */
const NO_TEXT = 0x811c9dc5;

export const START_OF_RUN: Position = { steps: 0, characters: 0, digest: NO_TEXT, citations: 0, tools: 0, marks: 0 };

/** Where an event leads from the position before it. */
export function behind(position: Position, event: RunEvent): Position {
  if ("step" in event) return { ...position, steps: position.steps + 1 };
  if ("text" in event) {
    return { ...position, characters: position.characters + event.text.length, digest: digest(event.text, position.digest) };
  }
  if ("citation" in event) return { ...position, citations: position.citations + 1 };
  if ("toolCall" in event || "toolResult" in event) return { ...position, tools: position.tools + 1 };
  if ("restarted" in event) return { ...position, characters: 0, digest: NO_TEXT, citations: 0 };
  return { ...position, marks: position.marks + 1 };
}

/** Whether both have told the same. */
export function isSamePosition(a: Position, b: Position): boolean {
  return numbersOf(a).every((number, i) => number === numbersOf(b)[i]);
}

/** Whether what was told of the answer is how this text begins. */
export function agrees({ characters, digest: told }: Position, text: string): boolean {
  return characters <= text.length && digest(text.slice(0, characters)) === told;
}

/** FNV-1a over UTF-16 code units: text can be digested piece by piece. */
function digest(text: string, before = NO_TEXT): number {
  let hash = before;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

/** A run: the thread that it works on, and its own id. */
export interface RunPlace {
  readonly threadId: string;
  readonly runId: string;
}

/** An event's id: thread, run and position, with characters between them that thread ids do not have. */
export function eventId({ threadId, runId }: RunPlace, position: Position): string {
  return `${threadId}/${runId}/${numbersOf(position).join("-")}`;
}

/** Throws INVALID_ARGUMENT for a text that is no event's id. */
export function parseEventId(text: string): RunPlace & { position: Position } {
  const [, threadId, runId, counts] = /^([\w.:@-]{1,128})\/([\w-]{1,64})\/(\d{1,10}(?:-\d{1,10}){5})$/.exec(text) ?? [];
  if (threadId === undefined || runId === undefined || counts === undefined) throw invalidEventId();
  const [steps = 0, characters = 0, told = 0, citations = 0, tools = 0, marks = 0] = counts.split("-").map(Number);
  return { threadId, runId, position: { steps, characters, digest: told, citations, tools, marks } };
}

function numbersOf({ steps, characters, digest: told, citations, tools, marks }: Position): number[] {
  return [steps, characters, told, citations, tools, marks];
}
