import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import { checkVectors, type Embedder, EmbeddingError } from "../../../runtime/embedding/embedder.js";
import { reasonName } from "../../../runtime/errors.js";
import { buildVectors } from "../index/vector-format.js";
import { failureOf } from "../ingestion/document-failure.js";
import { MAX_FRUITLESS_ATTEMPTS, retryOrInterrupt } from "../ingestion/interruption.js";
import type { JobRunDependencies } from "../ingestion/job-run.js";
import { chunkIds, countChunks } from "../store/chunk-runs.js";
import type { ChunkRun, ClaimedJob, DocumentFailure, JobPhase, JobRecord } from "../store/store.js";

/** Chunks that are embedded and written together: what a worker that dies has done in vain. */
const BATCH_CHUNKS = 256;
/** Rows of vectors that are looked up, or removed, at once. */
const ROWS_AT_ONCE = 500;

/** One worker's run of a job that gives a collection another embedding model, from the first chunk without a vector to the switch. */
export class ReembeddingRun {
  phase: JobPhase = "NONE";
  readonly #claimed: ClaimedJob;
  readonly #target: string;
  readonly #deps: JobRunDependencies;
  readonly #signal: AbortSignal;

  constructor(claimed: ClaimedJob, targetModel: string, deps: JobRunDependencies, signal: AbortSignal) {
    this.#claimed = claimed;
    this.#target = targetModel;
    this.#deps = deps;
    this.#signal = signal;
  }

  /** Resolves when the job has ended. Rejects with LeaseLostError when it is no longer ours, else with what keeps it from going on. */
  async run(): Promise<JobRecord> {
    const { lease, fruitlessAttempts } = this.#claimed;
    if (fruitlessAttempts >= MAX_FRUITLESS_ATTEMPTS) {
      const message = `The worker ended ${fruitlessAttempts} times without coming further; the service's log has the cause. The collection keeps its model.`;
      return this.#finish("FAILED", { documentId: "", reason: reasonName(ErrorReason.INTERNAL), message });
    }
    // Two calls came at once: the first one's job has done it.
    if (lease.model === this.#target) return this.#finish("SUCCEEDED");
    try {
      return await this.#reembed(this.#deps.embedderFor(this.#target));
    } catch (error) {
      if (!(error instanceof EmbeddingError)) throw error;
      return this.#finish("FAILED", failureOf("", error));
    }
  }

  async #reembed(embedder: Embedder): Promise<JobRecord> {
    const { store, clock, onChange, onIndexed } = this.#deps;
    const { lease } = this.#claimed;
    // What an earlier job left may be of a model that has changed under its name.
    while (await this.#retry(() => store.clearVectors(lease, this.#target, ROWS_AT_ONCE))) this.#signal.throwIfAborted();
    for (;;) {
      this.#enter("EMBEDDING");
      await this.#retry(() => store.countEmbedded(lease, this.#target));
      onChange(lease.jobId);
      await this.#embedMissing(embedder);
      this.#enter("INDEXING");
      const switched = await this.#retry(() => store.switchModel(lease, this.#target, new Date(clock.now())));
      // What was ingested meanwhile is embedded in the next round.
      if (switched === undefined) continue;
      this.phase = "NONE";
      onChange(lease.jobId);
      onIndexed(lease.collection);
      return switched;
    }
  }

  async #embedMissing(embedder: Embedder): Promise<void> {
    const { store, onChange } = this.#deps;
    const { lease } = this.#claimed;
    for (let after = -1; ; ) {
      const runs = await this.#retry(() => store.unembeddedRuns(lease, this.#target, after, ROWS_AT_ONCE));
      const last = runs.at(-1);
      if (last === undefined) return;
      for (const batch of batchesOf(runs, BATCH_CHUNKS)) {
        await this.#embed(batch, embedder);
        onChange(lease.jobId);
      }
      after = last.first;
    }
  }

  async #embed(batch: readonly ChunkRun[], embedder: Embedder): Promise<void> {
    const { store } = this.#deps;
    const { lease } = this.#claimed;
    const texts = await this.#retry(() => store.readTexts(lease.collection, batch));
    // A document that was deleted since takes its runs with it.
    const runs = batch.filter(({ first }) => texts.has(first));
    const ids = [...chunkIds(runs)];
    const vectors = await this.#retry(() => embedder.embed(ids.map((id) => texts.get(id) ?? ""), this.#signal));
    checkVectors(embedder, ids.length, vectors);
    let next = 0;
    const rows = runs.map((run) => {
      const ofRun = vectors.slice(next, (next += run.count)).map((vector, i) => ({ chunkId: run.first + i, vector }));
      return { run, vectors: buildVectors(embedder.dimension, ofRun) };
    });
    await this.#retry(() => store.addVectors(lease, this.#target, rows));
  }

  #retry<T>(work: () => Promise<T>): Promise<T> {
    return retryOrInterrupt(work, { clock: this.#deps.clock, signal: this.#signal });
  }

  #enter(phase: JobPhase): void {
    this.phase = phase;
    this.#deps.onChange(this.#claimed.lease.jobId);
  }

  async #finish(state: "SUCCEEDED" | "FAILED", failure?: DocumentFailure): Promise<JobRecord> {
    const { store, clock, onChange } = this.#deps;
    const job = await store.finishJob(this.#claimed.lease, state, new Date(clock.now()), failure);
    this.phase = "NONE";
    onChange(job.id);
    return job;
  }
}

/** The runs in groups of at most `size` chunks; a run that does not fit into the rest of a group is cut. */
export function* batchesOf(runs: readonly ChunkRun[], size: number): Generator<ChunkRun[]> {
  let batch: ChunkRun[] = [];
  let room = size;
  for (const { first, count } of runs) {
    for (let done = 0; done < count; ) {
      const piece = Math.min(room, count - done);
      batch.push({ first: first + done, count: piece });
      done += piece;
      room -= piece;
      if (room > 0) continue;
      yield batch;
      batch = [];
      room = size;
    }
  }
  if (countChunks(batch) > 0) yield batch;
}
