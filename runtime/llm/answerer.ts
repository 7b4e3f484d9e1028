import type { BaseMessageLike } from "@langchain/core/messages";
import type { Usage } from "./language-model.js";
import type { Prompt } from "./prompts.js";

/** A passage of a document that may hold the answer. */
export interface Passage {
  readonly documentId: string;
  readonly chunkId: string;
  /** Where the document came from, as people are shown it. */
  readonly source: string;
  /** The document's title and the headings above the passage, outermost first. */
  readonly headings: readonly string[];
  /** Where `text` starts in the document's text, in UTF-16 code units. */
  readonly start: number;
  readonly text: string;
  /** The page that `text` starts on, from 1; absent where there are no pages. */
  readonly page?: number;
  /** How well it fits the question; comparable among the passages of one request. */
  readonly score: number;
}

/** What an answer relies on: document.slice(start, end) === quote. */
export interface Citation {
  /** The n of [n] in the answer's text, from 1 in order of appearance. */
  readonly index: number;
  readonly documentId: string;
  readonly chunkId: string;
  readonly source: string;
  readonly start: number;
  readonly end: number;
  readonly quote: string;
  /** The page that the passage starts on, from 1; absent where there are no pages. */
  readonly page?: number;
}

export interface AnswerRequest {
  readonly question: string;
  /** The question so that it can be understood without the history: what the built-in answerer, which reads none, answers. Default `question`. */
  readonly alone?: string;
  /** What was said before the question, oldest first. */
  readonly history?: readonly BaseMessageLike[];
  /** Best first; may be empty. */
  readonly passages: readonly Passage[];
  /** What a model worked out about the passages before; empty for nothing. */
  readonly notes?: string;
  /** What a model is told to do with the passages. Default: the built-in prompt "answer". The built-in answerer does not read it. */
  readonly prompt?: Prompt;
  /** How to answer, by the caller's word; the rules on passages stand above it. The built-in answerer does not read it. */
  readonly instructions?: string;
  /** 0 to 2. */
  readonly temperature: number;
  /** The most tokens that a model may write. */
  readonly maxTokens: number;
  readonly signal?: AbortSignal | undefined;
}

/** Text to append, or a passage that the text so far relies on. */
export type AnswerEvent = { readonly text: string } | { readonly citation: Citation };

export type OnAnswerEvent = (event: AnswerEvent) => void;

export interface Answer {
  readonly text: string;
  readonly citations: readonly Citation[];
  readonly usage: Usage;
  /** The name of the model that wrote it, which may have stood in for the one that was asked. */
  readonly model: string;
}

/** Answers questions from passages. */
export interface Answerer {
  /** The model's configured name; "extractive" for the built-in one. */
  readonly model: string;
  /** Tells of the answer as it comes, and resolves to all of it. Rejects as LanguageModel.reply does. */
  answer(request: AnswerRequest, onEvent?: OnAnswerEvent): Promise<Answer>;
}
