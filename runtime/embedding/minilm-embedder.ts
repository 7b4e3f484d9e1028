import { availableParallelism } from "node:os";
import { startThread } from "../threads/start-thread.js";
import { ThreadPool } from "../threads/thread-pool.js";
import type { Embedder } from "./embedder.js";
import { MINILM_DIMENSION, MINILM_MODEL } from "./minilm-model.js";

const MAX_THREADS = 8;

/** all-MiniLM-L6-v2 on the CPU, in threads of its own: a model with context, about 17 chunks a second and core. */
export class MiniLmEmbedder implements Embedder {
  readonly model = MINILM_MODEL;
  readonly dimension = MINILM_DIMENSION;
  readonly isCostly = true;
  readonly #threads: ThreadPool<string, Float32Array>;
  /** Texts handed over at once: one waits for the thread that is free first. */
  readonly #lanes: number;
  /** Of its own, so that a question does not wait behind the chunks of a job. */
  readonly #questions: ThreadPool<string, Float32Array>;

  /** @param file the model's ONNX file; it is loaded by the first text. */
  constructor(file: string, threads = Math.min(availableParallelism(), MAX_THREADS)) {
    const start = () => startThread("./minilm-thread.js", import.meta.url, { workerData: { file } });
    const options = { endsBetweenRequests: true };
    this.#threads = new ThreadPool(start, threads, options);
    this.#lanes = threads + 1;
    this.#questions = new ThreadPool(start, 1, options);
  }

  async embed(texts: readonly string[], signal?: AbortSignal): Promise<Float32Array[]> {
    if (texts.length === 1) return [await this.#questions.run(texts[0]!, signal)];
    // The longest first: the threads end together.
    const waiting = [...texts.keys()].sort((a, b) => texts[a]!.length - texts[b]!.length);
    const vectors = new Array<Float32Array>(texts.length);
    const lane = async () => {
      for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) vectors[place] = await this.#threads.run(texts[place]!, signal);
    };
    await Promise.all(Array.from({ length: this.#lanes }, lane));
    return vectors;
  }

  async close(): Promise<void> {
    await Promise.all([this.#threads.close(), this.#questions.close()]);
  }
}
