import { startThread } from "../../../runtime/threads/start-thread.js";
import { Segment } from "../index/segment.js";
import { mergeSegments } from "../index/segment-merge.js";
import { Tombstones } from "../index/tombstones.js";
import { toRuns } from "../store/chunk-runs.js";
import type { ChunkRun } from "../store/store.js";

/** A segment's bytes and the bitmap of its dead chunks. */
export interface MergeBlob {
  readonly bytes: Uint8Array;
  readonly deleted: Uint8Array;
}

export interface MergedBlob {
  readonly bytes: Uint8Array;
  readonly runs: readonly ChunkRun[];
}

/** Up to this many bytes a merge takes a few milliseconds, less than a thread's start. */
const IN_PLACE_BYTES = 500_000;

/** Merges segments, large ones in a thread of their own: requests go on meanwhile. */
export function mergeBlobs(blobs: readonly MergeBlob[]): Promise<MergedBlob> {
  const bytes = blobs.reduce((sum, blob) => sum + blob.bytes.length, 0);
  return bytes <= IN_PLACE_BYTES ? Promise.resolve(mergeHere(blobs)) : mergeInThread(blobs);
}

/** Merges segments in this thread. */
export function mergeHere(blobs: readonly MergeBlob[]): MergedBlob {
  const merged = mergeSegments(
    blobs.map(({ bytes, deleted }) => {
      const segment = new Segment(bytes);
      return { segment, deleted: deleted.length === 0 ? undefined : Tombstones.decode(deleted, segment.chunkIds.length) };
    }),
  );
  return { bytes: merged, runs: toRuns(new Segment(merged).chunkIds) };
}

function mergeInThread(blobs: readonly MergeBlob[]): Promise<MergedBlob> {
  const worker = startThread("./merge-thread.js", import.meta.url, { workerData: blobs });
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`the merging thread ended with code ${code}`)));
  });
}
