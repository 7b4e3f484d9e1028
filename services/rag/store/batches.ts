import type { SqlDatabase, SqlSession } from "../../../runtime/sql/database.js";
import { countChunks } from "./chunk-runs.js";
import { chunkRow, insertChunks, insertDocuments, insertSegment, insertVectors } from "./contents.js";
import { countChanges } from "./counting.js";
import { lockForWriting } from "./locks.js";
import { REPLACED_COLUMNS, type ReplacedDocument, removeContents } from "./removal.js";
import { JOB_COLUMNS, type JobRow, toJob } from "./rows.js";
import { type JobBatch, type JobLease, type JobRecord, type JobStore, MAX_KEPT_FAILURES, type MetadataChange, type WindowedDocument } from "./store.js";
import { removeWindows, showWindows } from "./windows.js";

export function batchStore(db: SqlDatabase): Pick<JobStore, "commitBatch"> {
  return {
    commitBatch: (lease, batch, now) => db.transaction((tx) => commitBatch(tx, lease, batch, now)),
  };
}

async function commitBatch(tx: SqlSession, lease: JobLease, batch: JobBatch, now: Date): Promise<JobRecord> {
  const { collection } = lease;
  await lockForWriting(tx, lease);
  const finished = await finishDocuments(tx, lease, batch);
  if (finished === undefined) return readJob(tx, lease.jobId);

  const added: WindowedDocument[] = [
    ...batch.documents.map(({ firstChunkId, chunks, vectors: _, ...head }) => ({ ...head, runs: [{ first: firstChunkId, count: chunks.length }] })),
    ...(batch.windowed ?? []),
  ];
  const replaced = await tx.query<ReplacedDocument>(
    `delete from rag.documents where collection = $1 and id = any($2::text[])
     returning ${REPLACED_COLUMNS}`,
    [collection, added.map(({ id }) => id)],
  );
  await removeContents(tx, collection, replaced);
  if (added.length > 0) {
    const created = new Map(replaced.map((document) => [document.id, document.create_time]));
    await insertDocuments(tx, collection, added, created, now);
  }
  if (batch.documents.length > 0) {
    await insertChunks(tx, collection, batch.documents.flatMap(({ firstChunkId, chunks }) => chunks.map((chunk, place) => chunkRow(chunk, firstChunkId + place, firstChunkId, place))));
    await insertVectors(tx, collection, lease.model, batch.documents.map(({ firstChunkId: first, chunks, vectors }) => ({ run: { first, count: chunks.length }, vectors })));
  }
  if (batch.segment !== undefined) await insertSegment(tx, collection, batch.segment);
  await showWindows(tx, lease.jobId, (batch.windowed ?? []).map(({ ordinal }) => ordinal));
  await changeMetadata(tx, collection, batch.metadataChanges, now);
  if (added.length + batch.metadataChanges.length > 0) await countChanges(tx, collection, { added, removed: replaced, now });
  return advanceJob(tx, lease.jobId, batch, added, finished);
}

async function changeMetadata(tx: SqlSession, collection: number, changes: readonly MetadataChange[], now: Date): Promise<void> {
  if (changes.length === 0) return;
  await tx.query(
    `update rag.documents d set given_metadata = x.given, metadata = d.found_metadata || x.given, readers = x.readers, update_time = $3
     from json_to_recordset($2::json) as x(id text, given jsonb, readers text[]) where d.collection = $1 and d.id = x.id`,
    [collection, JSON.stringify(changes.map(({ id, givenMetadata, readers }) => ({ id, given: givenMetadata, readers }))), now],
  );
  // An access list may have come or gone.
  await tx.query(
    `update rag.collections set restricted_count = (select count(*) from rag.documents where collection = $1 and readers <> '{}')
     where uid = $1`,
    [collection],
  );
}

/** Takes the batch's documents off the job's list; undefined when they are off it already. */
async function finishDocuments(tx: SqlSession, lease: JobLease, batch: JobBatch): Promise<{ count: number; bytes: number } | undefined> {
  const { jobId } = lease;
  const windowed = (batch.windowed ?? []).map(({ ordinal }) => ordinal);
  const others = [
    ...batch.documents.map(({ ordinal }) => ordinal),
    ...batch.metadataChanges.map(({ ordinal }) => ordinal),
    ...batch.skipped,
    ...batch.failed.map(({ ordinal }) => ordinal),
  ];
  // A document that failed half way, or shrank since an earlier worker began with it, leaves no windows.
  await removeWindows(tx, lease.collection, jobId, others);
  const ordinals = [...windowed, ...others];
  const done = await tx.query<{ bytes: number }>(
    `update rag.job_documents set waiting = false where job = $1 and ordinal = any($2::int[]) and waiting
     returning size_bytes - window_bytes as bytes`,
    [jobId, ordinals],
  );
  if (done.length === 0) return undefined;
  await tx.query(`delete from rag.job_parts where job = $1 and ordinal = any($2::int[])`, [jobId, ordinals]);
  return { count: done.length, bytes: done.reduce((total, { bytes }) => total + bytes, 0) };
}

async function readJob(tx: SqlSession, jobId: string): Promise<JobRecord> {
  const [row] = await tx.query<JobRow>(`select ${JOB_COLUMNS} from rag.jobs where id = $1`, [jobId]);
  return toJob(row!);
}

async function advanceJob(
  tx: SqlSession,
  jobId: string,
  batch: JobBatch,
  added: readonly WindowedDocument[],
  finished: { count: number; bytes: number },
): Promise<JobRecord> {
  const [row] = await tx.query<JobRow>(
    `update rag.jobs set done_documents = done_documents + $2, skipped_documents = skipped_documents + $3,
       failed_documents = failed_documents + $4, chunks = chunks + $5, done_bytes = done_bytes + $6, fruitless_attempts = 0,
       phase = 'INDEXING',
       failures = case when jsonb_array_length(failures) >= ${MAX_KEPT_FAILURES} then failures else (
         select coalesce(jsonb_agg(value order by place), '[]')
         from jsonb_array_elements(failures || $7::jsonb) with ordinality as kept(value, place) where place <= ${MAX_KEPT_FAILURES}) end
     where id = $1 returning ${JOB_COLUMNS}`,
    [
      jobId,
      finished.count,
      batch.skipped.length,
      batch.failed.length,
      added.reduce((total, { runs }) => total + countChunks(runs), 0),
      finished.bytes,
      JSON.stringify(batch.failed.map(({ failure }) => failure)),
    ],
  );
  return toJob(row!);
}
