import { z } from "zod";
import type { Reranker } from "./reranker.js";

export interface HttpRerankerOptions {
  readonly name: string;
  /** Where POST is sent, such as https://api.cohere.com/v2/rerank. */
  readonly url: string;
  /** The server's name of the model; not sent when undefined. */
  readonly model: string | undefined;
  /** Sent as a bearer token. */
  readonly apiKey: string | undefined;
  readonly timeoutMs: number;
}

/** Longest passage that is sent, in characters: rerankers read about 500 tokens. */
const MAX_PASSAGE = 4_000;
const MAX_RESPONSE_BYTES = 4 * 1024 * 1024;

const result = z.object({ index: z.int().nonnegative(), relevance_score: z.number().optional(), score: z.number().optional() });
const responseSchema = z.union([z.object({ results: z.array(result) }), z.object({ data: z.array(result) }), z.array(result)]);

/**
 * A reranker behind the request that Cohere, Jina, Voyage, vLLM and llama.cpp agree on: {model, query, documents, top_n},
 * answered with {results: [{index, relevance_score}]} ("data" and "score" are understood as well).
 */
export function httpReranker({ name, url, model, apiKey, timeoutMs }: HttpRerankerOptions): Reranker {
  return {
    name,
    async rerank(query, passages, signal) {
      const documents = passages.map(({ headings, text }) => [...headings, text].join("\n").slice(0, MAX_PASSAGE));
      const timeout = AbortSignal.timeout(timeoutMs);
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }) },
        body: JSON.stringify({ ...(model !== undefined && { model }), query, documents, top_n: documents.length }),
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
        redirect: "error",
      });
      if (!response.ok) throw new Error(`the reranker ${name} answered with status ${response.status}`);
      return scoresOf(name, await readJson(response), passages.length);
    },
  };
}

async function readJson(response: Response): Promise<unknown> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.length;
    if (bytes > MAX_RESPONSE_BYTES) throw new Error("the reranker's answer is larger than 4 MiB");
    parts.push(part);
  }
  return JSON.parse(Buffer.concat(parts).toString("utf8"));
}

function scoresOf(name: string, body: unknown, count: number): number[] {
  const parsed = responseSchema.safeParse(body);
  if (!parsed.success) throw new Error(`the reranker ${name} answered with something else than results`);
  const results = Array.isArray(parsed.data) ? parsed.data : "results" in parsed.data ? parsed.data.results : parsed.data.data;
  const scores = new Array<number | undefined>(count).fill(undefined);
  for (const { index, relevance_score: relevance, score = relevance } of results) {
    if (index >= count || score === undefined || !Number.isFinite(score)) throw new Error(`the reranker ${name} gave passage ${index} no score`);
    scores[index] = score;
  }
  const missing = scores.indexOf(undefined);
  if (missing !== -1) throw new Error(`the reranker ${name} gave passage ${missing} no score`);
  return scores as number[];
}
