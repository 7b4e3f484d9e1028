import type { SqlSession } from "../../../runtime/sql/database.js";
import { countChunks, joinRuns, markDeleted } from "./chunk-runs.js";
import type { ChunkRun } from "./store.js";

export const REPLACED_COLUMNS = "id, readers, run_firsts, run_counts, chunk_count, text_bytes, create_time";

/** What has to be known of a document's row to take its contents away. */
export interface ReplacedDocument {
  id: string;
  readers: string[];
  run_firsts: number[];
  run_counts: number[];
  chunk_count: number;
  text_bytes: number;
  create_time: Date;
}

/** A row's arrays as runs. */
export function runsOf(row: { run_firsts: number[]; run_counts: number[] }): ChunkRun[] {
  return row.run_firsts.map((first, i) => ({ first, count: row.run_counts[i] ?? 0 }));
}

/** Deletes chunks and vectors of documents and marks their places in the index as dead. The caller holds the collection's lock. */
export async function removeContents(tx: SqlSession, collection: number, documents: readonly ReplacedDocument[]): Promise<void> {
  const runs = joinRuns(documents.flatMap(runsOf).sort((a, b) => a.first - b.first));
  await removeChunks(tx, collection, runs);
  await bury(tx, collection, runs);
}

/** Deletes the chunks' texts and vectors. */
export async function removeChunks(tx: SqlSession, collection: number, runs: readonly ChunkRun[]): Promise<void> {
  if (runs.length === 0) return;
  const parameters = [collection, runs.map(({ first }) => first), runs.map(({ count }) => count)];
  for (const [table, column] of [["chunks", "id"], ["vectors", "first_chunk"]] as const) {
    await tx.query(
      `delete from rag.${table} t using unnest($2::bigint[], $3::int[]) as run(first, count)
       where t.collection = $1 and t.${column} >= run.first and t.${column} < run.first + run.count`,
      parameters,
    );
  }
}

interface SegmentRow {
  id: number;
  run_firsts: number[];
  run_counts: number[];
  chunk_count: number;
  dead_count: number;
  tombstones: Buffer;
}

/** Writes tombstones for chunks, in the order of their ids; a segment without a living chunk goes altogether. The caller holds the collection's lock. */
export async function bury(tx: SqlSession, collection: number, runs: readonly ChunkRun[]): Promise<void> {
  if (runs.length === 0) return;
  const rows = await tx.query<SegmentRow>(
    // By their outermost chunks: which of them really lose one, comparing run by run would find out at the price of a product.
    `select id, run_firsts, run_counts, chunk_count, dead_count, tombstones from rag.segments
     where collection = $1 and job is null and run_firsts[1] <= $3
       and run_firsts[cardinality(run_firsts)] + run_counts[cardinality(run_counts)] > $2`,
    [collection, runs[0]!.first, runs.at(-1)!.first + runs.at(-1)!.count - 1],
  );
  for (const row of rows) {
    const bits = new Uint8Array(Math.ceil(row.chunk_count / 8));
    bits.set(row.tombstones);
    const held = runsOf(row);
    markDeleted(bits, held, runs);
    const dead = countBits(bits);
    if (dead === row.dead_count) continue;
    if (dead === countChunks(held)) await dropSegments(tx, collection, [row.id]);
    else {
      await tx.query(
        `update rag.segments set tombstones = $3, dead_count = $4, tombstone_version = tombstone_version + 1
         where collection = $1 and id = $2`,
        [collection, row.id, bits, dead],
      );
    }
  }
}

/** Deletes segments with their blobs. */
export async function dropSegments(tx: SqlSession, collection: number, ids: readonly number[]): Promise<void> {
  await tx.query(`delete from rag.segment_parts where collection = $1 and segment = any($2::bigint[])`, [collection, ids]);
  await tx.query(`delete from rag.segments where collection = $1 and id = any($2::bigint[])`, [collection, ids]);
}

function countBits(bits: Uint8Array): number {
  let count = 0;
  for (let byte of bits) for (; byte !== 0; byte &= byte - 1) count += 1;
  return count;
}
