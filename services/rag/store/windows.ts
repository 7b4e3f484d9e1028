import type { SqlDatabase, SqlSession } from "../../../runtime/sql/database.js";
import { chunkRow, insertChunks, insertSegment, insertVectors } from "./contents.js";
import { holdLease, lockForWriting } from "./locks.js";
import { dropSegments, removeChunks, runsOf } from "./removal.js";
import type { JobLease, JobStore, NewWindow } from "./store.js";

/**
 * Large documents are stored window by window, each in a transaction of its own: chunks, vectors and a segment that carries the
 * job's name and so is part of no manifest. The document appears when a batch takes the names away.
 */
export function windowStore(db: SqlDatabase): Pick<JobStore, "addWindow" | "windows" | "dropWindows"> {
  return {
    addWindow: (lease, window) => db.transaction((tx) => addWindow(tx, lease, window)),
    async windows(jobId, ordinal) {
      const rows = await db.query<{ window_number: number; window_hash: string; run_firsts: number[]; run_counts: number[] }>(
        `select window_number, window_hash, run_firsts, run_counts from rag.segments
         where job = $1 and ordinal = $2 order by window_number`,
        [jobId, ordinal],
      );
      return rows.map((row) => ({ number: row.window_number, hash: row.window_hash, run: runsOf(row)[0]! }));
    },
    dropWindows: (lease, ordinal) =>
      db.transaction(async (tx) => {
        await holdLease(tx, lease);
        await removeWindows(tx, lease.collection, lease.jobId, [ordinal]);
        await tx.query(
          `update rag.jobs set done_bytes = done_bytes - (select window_bytes from rag.job_documents where job = $1 and ordinal = $2)
           where id = $1`,
          [lease.jobId, ordinal],
        );
        await tx.query(`update rag.job_documents set window_bytes = 0 where job = $1 and ordinal = $2`, [lease.jobId, ordinal]);
      }),
  };
}

async function addWindow(tx: SqlSession, lease: JobLease, window: NewWindow): Promise<void> {
  const { collection, jobId } = lease;
  const { ordinal, firstChunkId, chunks, bytes } = window;
  await lockForWriting(tx, lease);
  const stored = await tx.query(`select 1 from rag.segments where job = $1 and ordinal = $2 and window_number = $3`, [jobId, ordinal, window.number]);
  // Stored before, the answer lost.
  if (stored.length > 0) return;
  await insertChunks(
    tx,
    collection,
    chunks.map((chunk, place) => chunkRow(chunk, firstChunkId + place, window.documentKey, window.firstOrdinal + place)),
  );
  await insertVectors(tx, collection, lease.model, [{ run: { first: firstChunkId, count: chunks.length }, vectors: window.vectors }]);
  const segment = await insertSegment(tx, collection, window.segment);
  await tx.query(
    `update rag.segments set job = $3, ordinal = $4, window_number = $5, window_hash = $6 where collection = $1 and id = $2`,
    [collection, segment, jobId, ordinal, window.number, window.hash],
  );
  // The estimate by text must not pass the document's size: what is left is counted when the document is done.
  const [counted] = await tx.query<{ added: number }>(
    `update rag.job_documents d set window_bytes = least(d.size_bytes, d.window_bytes + $3)
     from rag.job_documents before where before.job = d.job and before.ordinal = d.ordinal and d.job = $1 and d.ordinal = $2
     returning d.window_bytes - before.window_bytes as added`,
    [jobId, ordinal, bytes],
  );
  await tx.query(`update rag.jobs set done_bytes = done_bytes + $2, fruitless_attempts = 0 where id = $1`, [jobId, counted?.added ?? 0]);
}

/** Makes the windows of documents parts of the index. The caller holds the locks. */
export async function showWindows(tx: SqlSession, jobId: string, ordinals: readonly number[]): Promise<void> {
  if (ordinals.length === 0) return;
  await tx.query(
    `update rag.segments set job = null, ordinal = null, window_number = null, window_hash = null
     where job = $1 and ordinal = any($2::int[])`,
    [jobId, ordinals],
  );
}

/** Removes the windows of documents that will not be completed. */
export async function removeWindows(tx: SqlSession, collection: number, jobId: string, ordinals: readonly number[]): Promise<void> {
  if (ordinals.length === 0) return;
  const rows = await tx.query<{ id: number; run_firsts: number[]; run_counts: number[] }>(
    `select id, run_firsts, run_counts from rag.segments where job = $1 and ordinal = any($2::int[])`,
    [jobId, ordinals],
  );
  if (rows.length === 0) return;
  await removeChunks(tx, collection, rows.flatMap(runsOf));
  await dropSegments(tx, collection, rows.map(({ id }) => id));
}

/** Removes all windows of a job that has ended. */
export async function removeAllWindows(tx: SqlSession, jobId: string): Promise<void> {
  const rows = await tx.query<{ collection: number; ordinal: number }>(
    `select distinct collection, ordinal from rag.segments where job = $1`,
    [jobId],
  );
  for (const { collection, ordinal } of rows) await removeWindows(tx, collection, jobId, [ordinal]);
}
