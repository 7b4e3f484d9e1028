import { createHash } from "node:crypto";
import type { ChunkRun, JobDocument, JobLease, NewChunk, RagStore, StoredWindow } from "../store/store.js";
import { indexChunks, type IndexingTools } from "./index-batch.js";
import type { PrepareOptions } from "./prepare-document.js";

export interface WindowOptions extends PrepareOptions {
  readonly store: RagStore;
  readonly lease: JobLease;
  readonly tools: IndexingTools;
  /** Runs a call to the store, again if it fails. */
  readonly retry: <T>(work: () => Promise<T>) => Promise<T>;
}

/** Windows that an earlier worker stored are not those of the document as it is now. */
class WindowChangedError extends Error {
  override name = "WindowChangedError";
}

/** Parts of a document too large for one batch, each stored in a transaction of its own, seen by nobody until the document is complete. */
export class DocumentWindows {
  /** Of the windows stored so far, also by earlier workers. */
  readonly runs: ChunkRun[] = [];
  readonly #document: JobDocument;
  readonly #options: WindowOptions;
  readonly #stored: readonly StoredWindow[];
  #chunks = 0;

  constructor(document: JobDocument, options: WindowOptions, stored: readonly StoredWindow[]) {
    this.#document = document;
    this.#options = options;
    this.#stored = stored;
  }

  get chunkCount(): number {
    return this.#chunks;
  }

  /** Stores the next window, unless it is there. `text` is what it was made of. */
  async write(number: number, text: string, chunksOf: () => Promise<readonly NewChunk[]>): Promise<void> {
    const { store, lease, tools, signal, retry, onPhase } = this.#options;
    signal.throwIfAborted();
    const hash = createHash("sha256").update(text).digest("hex");
    const stored = this.#stored.find((one) => one.number === number);
    if (stored !== undefined) {
      if (stored.hash !== hash) throw new WindowChangedError();
      return this.#add(stored.run);
    }
    onPhase("CHUNKING");
    const chunks = await chunksOf();
    if (chunks.length === 0) return;
    const firstChunkId = await retry(() => store.reserveChunkIds(lease.collection, chunks.length));
    onPhase("EMBEDDING");
    const { vectors, segment } = await retry(() => indexChunks(chunks, firstChunkId, tools, signal));
    onPhase("INDEXING");
    const place = { ordinal: this.#document.ordinal, number, firstOrdinal: this.#chunks };
    const documentKey = this.runs[0]?.first ?? firstChunkId;
    const bytes = Buffer.byteLength(text);
    await retry(() => store.addWindow(lease, { ...place, hash, bytes, documentKey, firstChunkId, chunks, vectors, segment }));
    this.#add({ first: firstChunkId, count: chunks.length });
  }

  /** All windows were written: what is stored beyond them is not the document's. */
  end(): void {
    if (this.#stored.some(({ run }) => !this.runs.some(({ first }) => first === run.first))) throw new WindowChangedError();
  }

  #add(run: ChunkRun): void {
    this.runs.push(run);
    this.#chunks += run.count;
  }
}

/** Does the work on a document's windows; from the beginning, without those of an earlier worker, when the document has changed since. */
export async function withWindows<T>(document: JobDocument, options: WindowOptions, work: (windows: DocumentWindows) => Promise<T>): Promise<T> {
  const { store, lease, retry } = options;
  for (;;) {
    try {
      const windows = new DocumentWindows(document, options, await retry(() => store.windows(lease.jobId, document.ordinal)));
      const result = await work(windows);
      windows.end();
      return result;
    } catch (error) {
      if (!(error instanceof WindowChangedError)) throw error;
      await retry(() => store.dropWindows(lease, document.ordinal));
    }
  }
}
