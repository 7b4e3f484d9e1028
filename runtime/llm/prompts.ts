import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../package-root.js";

/** What language models are instructed to do; each is a file of its own. */
export const PROMPT_NAMES = [
  "answer",
  "logical",
  "react",
  "react-conclude",
  "reason",
  "rewrite-chain-of-density",
  "rewrite-chain-of-thought",
  "rewrite-contextual",
  "rewrite-decomposition",
  "rewrite-few-shot",
  "rewrite-hyde",
  "rewrite-persona",
  "rewrite-together",
] as const;
export type PromptName = (typeof PROMPT_NAMES)[number];

/** A text that instructs a language model. */
export interface Prompt {
  /** NAME@VERSION, where the version is the first eight digits of `sha256sum` of its file. */
  readonly id: string;
  readonly text: string;
}

export type Prompts = Readonly<Record<PromptName, Prompt>>;

/** Longest prompt, in bytes of its file. */
const MAX_BYTES = 65_536;

/** Reads the file of a prompt. Throws when there is none, when it is empty, too long or not UTF-8. */
export function readPrompt(name: PromptName, path: string): Prompt {
  const bytes = readFileSync(path);
  if (bytes.length > MAX_BYTES) throw new Error(`a prompt has at most ${MAX_BYTES} bytes`);
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes).trim();
  if (text === "") throw new Error("a prompt must say something");
  return { id: `${name}@${createHash("sha256").update(bytes).digest("hex").slice(0, 8)}`, text };
}

/** The prompts that come with the package, in its folder prompts/. */
export const BUILT_IN_PROMPTS: Prompts = Object.fromEntries(
  PROMPT_NAMES.map((name) => [name, readPrompt(name, join(packageRoot, "prompts", `${name}.txt`))]),
) as Record<PromptName, Prompt>;
