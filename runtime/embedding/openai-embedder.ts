import { z } from "zod";
import type { Clock } from "../clock.js";
import { checkVectors, type Embedder, EmbeddingError } from "./embedder.js";

export interface OpenAiEmbedderOptions {
  /** The endpoint's base, such as https://api.openai.com/v1. */
  readonly baseUrl: string;
  readonly model: string;
  readonly dimension: number;
  /** Sent as a bearer token. */
  readonly apiKey: string | undefined;
  /** Of one request, in milliseconds. */
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** Texts and characters of one request. */
const BATCH_TEXTS = 64;
const BATCH_CHARACTERS = 100_000;
/** Requests under way at once. */
const PARALLEL_REQUESTS = 4;
const RETRIES = 3;
const FIRST_DELAY_MS = 250;
/** Components as JSON take up to 25 bytes. */
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;

const responseSchema = z.object({ data: z.array(z.object({ index: z.int().nonnegative(), embedding: z.array(z.number().nullable()) })) });

/** Any server that speaks OpenAI's POST /embeddings: OpenAI, vLLM, Ollama, llama.cpp, text-embeddings-inference. */
export class OpenAiEmbedder implements Embedder {
  readonly model: string;
  readonly dimension: number;
  readonly isCostly = true;
  readonly #options: OpenAiEmbedderOptions;

  constructor(options: OpenAiEmbedderOptions) {
    this.model = options.model;
    this.dimension = options.dimension;
    this.#options = options;
  }

  async embed(texts: readonly string[], signal?: AbortSignal): Promise<Float32Array[]> {
    const vectors: Float32Array[] = texts.map(() => new Float32Array(this.dimension));
    // Servers refuse texts without anything in them.
    const places = texts.flatMap((text, place) => (/\S/.test(text) ? [place] : []));
    const batches = inBatches(places, texts);
    const work = async () => {
      for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
        const found = await this.#embedBatch(batch.map((place) => texts[place]!), signal);
        batch.forEach((place, i) => (vectors[place] = found[i]!));
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_REQUESTS }, work));
    return vectors;
  }

  async close(): Promise<void> {}

  async #embedBatch(texts: readonly string[], signal?: AbortSignal): Promise<Float32Array[]> {
    const { clock } = this.#options;
    for (let attempt = 0; ; attempt += 1) {
      try {
        const vectors = await this.#request(texts, signal);
        checkVectors(this, texts.length, vectors);
        return vectors.map(normalized);
      } catch (error) {
        signal?.throwIfAborted();
        if (attempt === RETRIES || !(error instanceof TransientError)) throw error;
        await clock.sleep(error.retryAfterMs ?? FIRST_DELAY_MS * 4 ** attempt, signal);
      }
    }
  }

  async #request(input: readonly string[], signal?: AbortSignal): Promise<Float32Array[]> {
    const { baseUrl, model, apiKey, timeoutMs } = this.#options;
    const timeout = AbortSignal.timeout(timeoutMs);
    const response = await fetch(`${baseUrl.replace(/\/$/, "")}/embeddings`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }) },
      body: JSON.stringify({ model, input, encoding_format: "float" }),
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      redirect: "error",
    }).catch((cause: unknown) => {
      throw new TransientError(`the embedding server of ${model} does not answer`, undefined, { cause });
    });
    if (!response.ok) {
      await response.body?.cancel();
      const message = `The embedding server of ${model} answered with status ${response.status}`;
      throw response.status === 429 || response.status >= 500 ? new TransientError(message, retryAfterMs(response)) : new EmbeddingError("REFUSED", `${message}; check its address, its key and the model's name.`);
    }
    return toVectors(model, await readJson(response), input.length);
  }
}

/** A failure that may mend. */
class TransientError extends Error {
  override name = "TransientError";
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs: number | undefined, options?: ErrorOptions) {
    super(message, options);
    this.retryAfterMs = retryAfterMs;
  }
}

function inBatches(places: readonly number[], texts: readonly string[]): number[][] {
  const batches: number[][] = [];
  let characters = Infinity;
  for (const place of places) {
    const length = texts[place]!.length;
    if (characters + length > BATCH_CHARACTERS || batches.at(-1)!.length === BATCH_TEXTS) {
      batches.push([]);
      characters = 0;
    }
    batches.at(-1)!.push(place);
    characters += length;
  }
  return batches;
}

/** At most ten seconds of what the server asks for. */
function retryAfterMs(response: Response): number | undefined {
  const seconds = Number(response.headers.get("retry-after") ?? NaN);
  return seconds > 0 ? Math.min(seconds, 10) * 1_000 : undefined;
}

async function readJson(response: Response): Promise<unknown> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.length;
    if (bytes > MAX_RESPONSE_BYTES) throw new Error("the embedding server's answer is larger than 64 MiB");
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString("utf8"));
  } catch (cause) {
    throw new Error("the embedding server answered with something else than JSON", { cause });
  }
}

function toVectors(model: string, body: unknown, count: number): Float32Array[] {
  const parsed = responseSchema.safeParse(body);
  if (!parsed.success) throw new EmbeddingError("WRONG_COUNT", `The embedding server of ${model} answered with something else than embeddings.`);
  const vectors: Float32Array[] = [];
  for (const { index, embedding } of parsed.data.data) vectors[index] = Float32Array.from(embedding, (component) => component ?? NaN);
  for (let i = 0; i < count; i += 1) {
    if (vectors[i] === undefined) throw new EmbeddingError("WRONG_COUNT", `The embedder ${model} answered no vector for text ${i} of ${count}.`);
  }
  return vectors;
}

function normalized(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, component) => sum + component * component, 0));
  return length === 0 ? vector : vector.map((component) => component / length);
}
