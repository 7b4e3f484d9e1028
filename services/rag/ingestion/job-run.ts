import type { Clock } from "../../../runtime/clock.js";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import { type Embedder, EmbeddingError } from "../../../runtime/embedding/embedder.js";
import { reasonName } from "../../../runtime/errors.js";
import type { Logger } from "../../../runtime/logger.js";
import { inSpan, type Tracer } from "../../../runtime/tracing/tracer.js";
import {
  type ClaimedJob,
  type DocumentFailure,
  type DocumentVersion,
  type JobBatch,
  type JobDocument,
  type JobPhase,
  type JobRecord,
  type JobStore,
  LeaseLostError,
  type RagStore,
  type WindowedDocument,
} from "../store/store.js";
import type { Cutter } from "../cutting/cutter.js";
import { detectType } from "../extraction/extract.js";
import type { PageFetcher } from "../fetching/page-fetcher.js";
import { type FoundFile, findFiles } from "./allowed-folders.js";
import { inParallel } from "./concurrency.js";
import { DocumentError, failureOf } from "./document-failure.js";
import { indexDocuments, type IndexingTools } from "./index-batch.js";
import { isInterruption, MAX_FRUITLESS_ATTEMPTS, retryOrInterrupt } from "./interruption.js";
import { storeLargeDocument } from "./large-document.js";
import { LARGE_TEXT_BYTES, storeLargeText, STREAMED_TYPES } from "./large-text.js";
import { type CutDocument, prepareDocument, type Prepared, type PrepareOptions, unchanged } from "./prepare-document.js";
import { documentBytes, readStart, readWhole } from "./read-document.js";
import { readPage } from "./read-page.js";
import { retrying } from "./retrying.js";
import { type TenantLimits, TenantQuota } from "./tenant-quota.js";

/** Files read at once. */
const PARALLEL_DOCUMENTS = 5;
/** A batch, and so a segment of the index, is committed when it holds this many chunks, characters or documents. */
const BATCH_CHUNKS = 1_000;
const BATCH_CHARACTERS = 4_000_000;
const BATCH_DOCUMENTS = 500;
/** Documents of a job looked up at once. */
const PAGE = 500;
/** Documents removed in one transaction, which moves the epoch once: nearly always all that are gone. */
const REMOVED_AT_ONCE = 10_000;

export interface JobRunDependencies {
  readonly store: RagStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Traces jobs. Default: they are not traced. */
  readonly tracer?: Tracer | undefined;
  readonly cutter: Cutter;
  readonly toolsFor: (job: ClaimedJob) => IndexingTools;
  /** Throws when this installation does not have the model. */
  readonly embedderFor: (model: string) => Embedder;
  /** Fetches documents that are pages. Default: none are fetched. */
  readonly pages?: Pick<PageFetcher, "fetch"> | undefined;
  /** Default: none. */
  readonly tenantLimits?: TenantLimits;
  /** Called after every change of the job's row. */
  readonly onChange: (jobId: string) => void;
  /** Called after every change of a collection's index. */
  readonly onIndexed: (collection: number) => void;
}

/** The outcome of one document, on its way into a batch. */
type Outcome = { readonly of: JobDocument } & (
  | Prepared
  | { readonly kind: "windowed"; readonly document: WindowedDocument }
  | { readonly kind: "failed"; readonly failure: DocumentFailure }
);

/** One worker's run of a job, from the first document that is not done with to the end. */
export class JobRun {
  phase: JobPhase = "NONE";
  readonly #claimed: ClaimedJob;
  readonly #deps: JobRunDependencies;
  readonly #signal: AbortSignal;
  readonly #tools: IndexingTools;
  readonly #quota: TenantQuota;

  constructor(claimed: ClaimedJob, deps: JobRunDependencies, signal: AbortSignal) {
    this.#claimed = claimed;
    this.#deps = deps;
    this.#signal = signal;
    this.#tools = deps.toolsFor(claimed);
    this.#quota = new TenantQuota(deps.store, claimed.job.tenant, deps.tenantLimits ?? {});
  }

  /** Resolves when the job has ended. Rejects with LeaseLostError when it is no longer ours, else with what keeps it from going on. */
  async run(): Promise<JobRecord> {
    const { store } = this.#deps;
    const { lease, enumerated, fruitlessAttempts } = this.#claimed;
    if (fruitlessAttempts >= MAX_FRUITLESS_ATTEMPTS) return this.#giveUp();
    if (!enumerated) await this.#enumerate();
    await this.#retry(() => this.#quota.refresh());
    let batch = new Batch();
    for await (const outcome of inParallel(this.#waiting(), PARALLEL_DOCUMENTS, (item) => this.#prepare(item))) {
      batch.add(outcome);
      if (!batch.isFull) continue;
      await this.#commit(batch);
      batch = new Batch();
    }
    if (!batch.isEmpty) await this.#commit(batch);
    await this.#removeMissing();
    const job = await store.getJob(this.#claimed.job.tenant, lease.jobId);
    if (job === undefined) throw new LeaseLostError("the job is gone");
    const allFailed = job.failedDocuments > 0 && job.failedDocuments === job.totalDocuments;
    return this.#finish(allFailed ? "FAILED" : "SUCCEEDED");
  }

  /** Makes a row of every file of the job's path. A run that was interrupted here left none. */
  async #enumerate(): Promise<void> {
    const { store, logger } = this.#deps;
    const { path, lease } = this.#claimed;
    const documents: JobDocument[] = [];
    let ignored = 0;
    if (path !== undefined) {
      for await (const found of findFiles(path, () => (ignored += 1))) {
        this.#signal.throwIfAborted();
        documents.push(toJobDocument(found, documents.length));
      }
    }
    await store.addJobDocuments(lease, documents, ignored);
    logger.info("job_enumerated", { job: lease.jobId, documents: documents.length, ignored_files: ignored });
    this.#deps.onChange(lease.jobId);
  }

  async *#waiting(): AsyncGenerator<{ document: JobDocument; version: DocumentVersion | undefined }> {
    const { store } = this.#deps;
    const { lease } = this.#claimed;
    let after = -1;
    for (;;) {
      const page = await store.waitingDocuments(lease.jobId, { after, limit: PAGE });
      if (page.length === 0) return;
      const versions = await store.documentVersions(lease.collection, page.map(({ documentId }) => documentId));
      for (const document of page) yield { document, version: versions.get(document.documentId) };
      after = page.at(-1)!.ordinal;
    }
  }

  #prepare(item: { document: JobDocument; version: DocumentVersion | undefined }): Promise<Outcome> {
    return inSpan("document", async (span) => {
      const { documentId, sizeBytes } = item.document;
      span?.set({ metadata: { document: documentId, bytes: sizeBytes } });
      const outcome = await this.#outcomeOf(item);
      span?.set({ metadata: { outcome: outcome.kind, ...(outcome.kind === "failed" && { reason: outcome.failure.reason }) } });
      return outcome;
    });
  }

  async #outcomeOf({ document, version }: { document: JobDocument; version: DocumentVersion | undefined }): Promise<Outcome> {
    const { logger } = this.#deps;
    const { lease, collection, metadata, readers } = this.#claimed;
    const options: PrepareOptions = {
      settings: collection.settings,
      version,
      ofAll: { metadata, readers },
      cutter: this.#deps.cutter,
      signal: this.#signal,
      onPhase: (phase) => this.#enter(phase),
    };
    try {
      checkId(document.documentId);
      const read = await this.#read(document, options);
      // What is unchanged takes no more than it has.
      if (read.kind === "cut" || read.kind === "windowed") this.#quota.take({ isNew: version === undefined, textBytes: read.document.textBytes });
      return { of: document, ...read };
    } catch (error) {
      this.#signal.throwIfAborted();
      if (isInterruption(error)) throw error;
      const failure = failureOf(document.documentId, error);
      if (failure === undefined) logger.error("document_failed", { job: lease.jobId, err: error });
      return { of: document, kind: "failed", failure: failure ?? unforeseen(document.documentId) };
    }
  }

  async #read(document: JobDocument, options: PrepareOptions) {
    const { store, clock, pages } = this.#deps;
    const { lease, job } = this.#claimed;
    if (document.url !== undefined) {
      const read = await readPage(document, document.url, options, { pages, clock, tenant: job.tenant });
      if (read.kind !== "fetched") return read;
      const { content, version: page } = read.page;
      // It was compared with the known version already.
      const outcome = await this.#readBytes(read.document, () => once(content), { ...options, version: undefined });
      if (outcome.kind === "cut") return { ...outcome, document: { ...outcome.document, page } };
      return outcome.kind === "windowed" ? { ...outcome, document: { ...outcome.document, page } } : outcome;
    }
    const same = document.contentHash === undefined ? undefined : unchanged(document, document.contentHash, options);
    if (same !== undefined) return same;
    const retry = <T>(work: () => Promise<T>) => this.#retry(work);
    const parts = { readPart: (...place: Parameters<JobStore["readPart"]>) => retry(() => store.readPart(...place)) };
    return this.#readBytes(document, () => documentBytes(parts, lease.jobId, document), options);
  }

  async #readBytes(document: JobDocument, open: () => AsyncGenerator<Uint8Array>, options: PrepareOptions) {
    const { store, clock } = this.#deps;
    const { lease } = this.#claimed;
    const retry = <T>(work: () => Promise<T>) => this.#retry(work);
    const again = { clock, signal: this.#signal, isFinal: (error: unknown) => error instanceof DocumentError || isInterruption(error) };
    if (document.sizeBytes > LARGE_TEXT_BYTES) {
      const content = await retrying(() => readStart(open()), again);
      const mimeType = detectType({ content, name: document.documentId, mimeType: document.mimeType });
      if (STREAMED_TYPES.has(mimeType)) return storeLargeText(document, { ...options, store, lease, tools: this.#tools, mimeType, open, retry });
    }
    const prepared = await prepareDocument(document, await retrying(() => readWhole(open()), again), options);
    return prepared.kind === "large" ? storeLargeDocument(document, prepared, { ...options, store, lease, tools: this.#tools, retry }) : prepared;
  }

  #retry<T>(work: () => Promise<T>): Promise<T> {
    return retryOrInterrupt(work, { clock: this.#deps.clock, signal: this.#signal });
  }

  /** Makes a batch visible. All of a batch or nothing of it is ever seen. */
  async #commit(batch: Batch): Promise<void> {
    const { store, clock, onChange, onIndexed } = this.#deps;
    const { lease } = this.#claimed;
    const { documents: cut, done } = batch;
    let contents: Pick<JobBatch, "documents" | "segment"> = { documents: [] };
    if (cut.length > 0) {
      const count = cut.reduce((sum, { chunks }) => sum + chunks.length, 0);
      this.#enter("EMBEDDING");
      const firstChunkId = await this.#retry(() => store.reserveChunkIds(lease.collection, count));
      try {
        contents = await this.#retry(() => indexDocuments(cut, firstChunkId, this.#tools, this.#signal));
      } catch (error) {
        if (!(error instanceof EmbeddingError)) throw error;
        // No chunk of the batch can be told from the one that the model refused.
        done.failed.push(...cut.map(({ ordinal, id }) => ({ ordinal, failure: failureOf(id, error)! })));
      }
      this.#enter("INDEXING");
    }
    await this.#retry(() => store.commitBatch(lease, { ...done, ...contents }, new Date(clock.now())));
    await this.#retry(() => this.#quota.refresh());
    onChange(lease.jobId);
    onIndexed(lease.collection);
  }

  /** Removes what the job's source has no more, if it is to be in step with it. */
  async #removeMissing(): Promise<void> {
    const { store, clock, onChange, onIndexed } = this.#deps;
    const { lease, syncPrefix } = this.#claimed;
    if (syncPrefix === undefined) return;
    while ((await this.#retry(() => store.removeMissing(lease, REMOVED_AT_ONCE, new Date(clock.now())))) > 0) {
      onChange(lease.jobId);
      onIndexed(lease.collection);
    }
  }

  #enter(phase: JobPhase): void {
    if (this.phase === phase) return;
    this.phase = phase;
    this.#deps.onChange(this.#claimed.lease.jobId);
  }

  async #giveUp(): Promise<JobRecord> {
    const { store, clock } = this.#deps;
    const { lease, fruitlessAttempts } = this.#claimed;
    for (;;) {
      const waiting = await store.waitingDocuments(lease.jobId, { limit: PAGE });
      if (waiting.length === 0) return this.#finish("FAILED");
      const message = `The worker ended ${fruitlessAttempts} times without coming further; ingest the job's documents in smaller jobs.`;
      const failed = waiting.map(({ ordinal, documentId }) => ({
        ordinal,
        failure: { documentId, reason: reasonName(ErrorReason.INTERNAL), message },
      }));
      await store.commitBatch(lease, { documents: [], metadataChanges: [], skipped: [], failed }, new Date(clock.now()));
    }
  }

  async #finish(state: Parameters<JobStore["finishJob"]>[1]): Promise<JobRecord> {
    const { store, clock, onChange } = this.#deps;
    const job = await store.finishJob(this.#claimed.lease, state, new Date(clock.now()));
    this.phase = "NONE";
    onChange(job.id);
    return job;
  }
}

/** Outcomes that are committed together. */
class Batch {
  readonly documents: CutDocument[] = [];
  readonly done: { [K in "windowed" | "metadataChanges" | "skipped" | "failed"]: NonNullable<JobBatch[K]>[number][] } = {
    windowed: [],
    metadataChanges: [],
    skipped: [],
    failed: [],
  };
  #count = 0;
  #chunks = 0;
  #characters = 0;

  add(outcome: Outcome): void {
    const { ordinal, documentId: id } = outcome.of;
    this.#count += 1;
    switch (outcome.kind) {
      case "unchanged":
        this.done.skipped.push(ordinal);
        return;
      case "metadata":
        this.done.metadataChanges.push({ ordinal, id, ...outcome.given });
        return;
      case "failed":
        this.done.failed.push({ ordinal, failure: outcome.failure });
        return;
      case "windowed":
        this.done.windowed.push(outcome.document);
        return;
      case "cut":
        this.documents.push(outcome.document);
        this.#chunks += outcome.document.chunks.length;
        this.#characters += outcome.document.textBytes;
    }
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  get isFull(): boolean {
    return this.#chunks >= BATCH_CHUNKS || this.#characters >= BATCH_CHARACTERS || this.#count >= BATCH_DOCUMENTS;
  }
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}

/** Ids are shown, linked to and typed: the schema's rule for callers' ids holds for names of files too. */
function checkId(id: string): void {
  if (id.length <= 512 && !/[\x00-\x1f\x7f]/.test(id)) return;
  throw new DocumentError(
    ErrorReason.UNREADABLE_DOCUMENT,
    "The path is longer than 512 characters or holds control characters; rename the file.",
  );
}

function toJobDocument({ file, documentId, sizeBytes }: FoundFile, ordinal: number): JobDocument {
  return { ordinal, documentId, source: documentId, mimeType: "", metadata: {}, readers: [], sizeBytes, file };
}

function unforeseen(documentId: string): DocumentFailure {
  return { documentId, reason: reasonName(ErrorReason.INTERNAL), message: "The document could not be read; the service's log has the cause." };
}
