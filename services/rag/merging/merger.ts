import { runDetached } from "../../../runtime/call-context.js";
import type { Logger } from "../../../runtime/logger.js";
import type { IndexStore } from "../store/store.js";
import { type MergeBlob, mergeBlobs } from "./merge-blobs.js";
import { DEFAULT_FAN_IN, planMerge } from "./merge-plan.js";

/**
 * Keeps the segments of collections few: ten of a level become one of the next. Any replica may do it; the store takes the first
 * one's result. What is searched meanwhile stays as it is, and so do scores.
 */
export class Merger {
  readonly #store: IndexStore;
  readonly #logger: Logger;
  readonly #fanIn: number;
  readonly #running = new Map<number, Promise<void>>();
  #stopped = false;

  constructor(store: IndexStore, logger: Logger, fanIn = DEFAULT_FAN_IN) {
    this.#store = store;
    this.#logger = logger;
    this.#fanIn = fanIn;
  }

  /** The collection has changed: merges what is to be merged, in the background. */
  consider(collection: number): void {
    if (this.#stopped || this.#running.has(collection)) return;
    const done = runDetached(() => this.#mergeAll(collection)).finally(() => this.#running.delete(collection));
    this.#running.set(collection, done);
  }

  /** Begins no further merge and resolves when those under way have ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running.values());
  }

  /** Never rejects: a merge that fails is tried again with the next change. */
  async #mergeAll(collection: number): Promise<void> {
    try {
      while (!this.#stopped && (await this.#mergeOnce(collection)));
    } catch (err) {
      this.#logger.warn("merge_failed", { err });
    }
  }

  /** Resolves to whether there may be more to merge. */
  async #mergeOnce(collection: number): Promise<boolean> {
    const store = this.#store;
    const manifest = await store.manifest(collection);
    const plan = manifest && planMerge(manifest, this.#fanIn);
    if (plan === undefined) return false;
    const ids = plan.inputs.map(({ id }) => id);
    const tombstones = await store.readTombstones(collection, ids);
    const blobs: MergeBlob[] = [];
    for (const id of ids) {
      const bytes = await store.readSegment(collection, id);
      const deleted = tombstones.get(id)?.bits;
      if (bytes === undefined || deleted === undefined) return false;
      blobs.push({ bytes: new Uint8Array(bytes), deleted: new Uint8Array(deleted) });
    }
    const { bytes, runs } = await mergeBlobs(blobs);
    const inputs = ids.map((id, i) => ({ id, deleted: blobs[i]!.deleted }));
    return store.commitMerge(collection, { inputs, output: { level: plan.level, bytes, runs } });
  }
}
