import { startThread } from "../../../runtime/threads/start-thread.js";
import { ThreadEndedError, ThreadPool } from "../../../runtime/threads/thread-pool.js";
import { ExtractionError, type ExtractionErrorKind } from "../extraction/extracted.js";
import type { NewChunk } from "../store/store.js";
import { cutDocument, type CutText, cutWindow, type WholeDocument, type WindowToCut } from "./cut-document.js";

/** Reads documents and cuts them into chunks. */
export interface Cutter {
  /** Takes the document's bytes over. Rejects with ExtractionError, or with the signal's reason. */
  document(document: WholeDocument, signal?: AbortSignal): Promise<CutText>;
  window(window: WindowToCut, signal?: AbortSignal): Promise<readonly NewChunk[]>;
  close(): Promise<void>;
}

export type CutRequest = { readonly document: WholeDocument } | { readonly window: WindowToCut };
export type CutResponse =
  | { readonly cut: CutText }
  | { readonly chunks: readonly NewChunk[] }
  | { readonly refused: { readonly kind: ExtractionErrorKind; readonly message: string } };

/** Threads that read at once. */
const THREADS = 2;
/** What a thread may take for its objects: bounds what any document can cost. */
const THREAD_MEMORY_MB = 768;
/** Texts up to this size are read in a few milliseconds, less than handing them over is worth. */
const IN_PLACE_BYTES = 32 * 1024;
/** Formats whose size says little of the work that they are. */
const PACKED = /\.(pdf|docx)$|^application\/(pdf|vnd\.)/i;

/** Reads small texts at once and everything else in threads of their own: calls are answered meanwhile. */
export class ThreadedCutter implements Cutter {
  readonly #threads: ThreadPool<CutRequest, CutResponse>;
  readonly #memoryMb: number;

  constructor(memoryMb = THREAD_MEMORY_MB) {
    this.#memoryMb = memoryMb;
    const resourceLimits = { maxOldGenerationSizeMb: memoryMb };
    this.#threads = new ThreadPool(() => startThread("./cutter-thread.js", import.meta.url, { resourceLimits }), THREADS);
  }

  async document(document: WholeDocument, signal?: AbortSignal): Promise<CutText> {
    const { content, name, mimeType } = document;
    if (content.length <= IN_PLACE_BYTES && !PACKED.test(mimeType) && !PACKED.test(name)) return cutDocument(document, signal);
    // A view on a part of a buffer is copied: others may look at the rest.
    const whole = content.buffer.byteLength === content.length;
    const response = await this.#run({ document }, signal, whole ? [content.buffer as ArrayBuffer] : []);
    if (!("cut" in response)) throw new Error("the cutting thread answered something else");
    return response.cut;
  }

  async window(window: WindowToCut, signal?: AbortSignal): Promise<readonly NewChunk[]> {
    const response = await this.#run({ window }, signal);
    if (!("chunks" in response)) throw new Error("the cutting thread answered something else");
    return response.chunks;
  }

  close(): Promise<void> {
    return this.#threads.close();
  }

  async #run(request: CutRequest, signal: AbortSignal | undefined, transfer: ArrayBuffer[] = []): Promise<CutResponse> {
    const response = await this.#threads.run(request, signal, transfer).catch((error: unknown) => {
      if (!(error instanceof ThreadEndedError) || !error.outOfMemory) throw error;
      const message = `Reading the document takes more than the limit of ${this.#memoryMb} MB of memory; split it into smaller documents.`;
      throw new ExtractionError("TOO_LARGE", message, { cause: error });
    });
    if ("refused" in response) throw new ExtractionError(response.refused.kind, response.refused.message);
    return response;
  }
}

/** Answers a request in the thread that it has come to. */
export async function answerHere(request: CutRequest): Promise<CutResponse> {
  try {
    return "document" in request ? { cut: await cutDocument(request.document) } : { chunks: await cutWindow(request.window) };
  } catch (error) {
    if (!(error instanceof ExtractionError)) throw error;
    return { refused: { kind: error.kind, message: error.message } };
  }
}
