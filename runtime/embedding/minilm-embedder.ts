import { availableParallelism } from "node:os";
import { startThread } from "../threads/start-thread.js";
import { ThreadPool } from "../threads/thread-pool.js";
import type { Embedder } from "./embedder.js";
import { MINILM_DIMENSION, MINILM_MODEL } from "./minilm-model.js";

/** Texts that a thread takes at once: half a second of work, so that questions get their turn between chunks. */
const TEXTS_AT_ONCE = 8;
const MAX_THREADS = 8;

/** all-MiniLM-L6-v2 on the CPU, in threads of its own: a model with context, about 17 chunks a second and core. */
export class MiniLmEmbedder implements Embedder {
  readonly model = MINILM_MODEL;
  readonly dimension = MINILM_DIMENSION;
  readonly isCostly = true;
  readonly #threads: ThreadPool<readonly string[], Float32Array[]>;
  /** Of its own, so that a question does not wait behind the chunks of a job. */
  readonly #questions: ThreadPool<readonly string[], Float32Array[]>;

  /** @param file the model's ONNX file; it is loaded by the first text. */
  constructor(file: string, threads = Math.min(availableParallelism(), MAX_THREADS)) {
    const start = () => startThread("./minilm-thread.js", import.meta.url, { workerData: { file } });
    this.#threads = new ThreadPool(start, threads);
    this.#questions = new ThreadPool(start, 1);
  }

  async embed(texts: readonly string[], signal?: AbortSignal): Promise<Float32Array[]> {
    if (texts.length === 1) return this.#questions.run(texts, signal);
    const parts: Promise<Float32Array[]>[] = [];
    for (let at = 0; at < texts.length; at += TEXTS_AT_ONCE) parts.push(this.#threads.run(texts.slice(at, at + TEXTS_AT_ONCE), signal));
    return (await Promise.all(parts)).flat();
  }

  async close(): Promise<void> {
    await Promise.all([this.#threads.close(), this.#questions.close()]);
  }
}
