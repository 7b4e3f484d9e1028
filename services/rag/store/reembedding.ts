import type { SqlDatabase, SqlSession } from "../../../runtime/sql/database.js";
import { holdLease, lockForWriting } from "./locks.js";
import { JOB_COLUMNS, type JobRow, toJob } from "./rows.js";
import type { JobLease, JobRecord, NewVectors, ReembeddingStore } from "./store.js";

/**
 * Vectors are rows by model, so those of a second one are built beside the first. Each row of the old model is embedded from its
 * first chunk to its last, by one row or several: how far it is shows where to go on.
 */
export function reembeddingStore(db: SqlDatabase): ReembeddingStore {
  return {
    countEmbedded: (lease, model) =>
      db.transaction(async (tx) => {
        await holdLease(tx, lease);
        return storeCounts(tx, lease, await countVectors(tx, lease, model));
      }),
    async unembeddedRuns({ collection, model: old }, model, after, limit) {
      return db.query<{ first: number; count: number }>(
        `select o.first_chunk + n.done as first, o.chunk_count - n.done as count
         from rag.vectors o, lateral (
           select coalesce(sum(chunk_count), 0)::int as done from rag.vectors
           where collection = o.collection and model = $3 and first_chunk >= o.first_chunk and first_chunk < o.first_chunk + o.chunk_count) n
         where o.collection = $1 and o.model = $2 and o.first_chunk > $4 and n.done < o.chunk_count
         order by o.first_chunk limit $5`,
        [collection, old, model, after, limit],
      );
    },
    async readTexts(collection, runs) {
      const rows = await db.query<{ id: number; text: string }>(
        `select c.id, c.text from unnest($2::bigint[], $3::int[]) as run(first, count)
         join rag.chunks c on c.collection = $1 and c.id >= run.first and c.id < run.first + run.count`,
        [collection, runs.map(({ first }) => first), runs.map(({ count }) => count)],
      );
      return new Map(rows.map(({ id, text }) => [id, text]));
    },
    addVectors: (lease, model, vectors) => db.transaction((tx) => addVectors(tx, lease, model, vectors)),
    switchModel: (lease, model, now) => db.transaction((tx) => switchModel(tx, lease, model, now)),
    clearVectors: ({ collection }, model, limit) =>
      db.transaction(async (tx) => {
        await tx.query(`select 1 from rag.collections where uid = $1 for update`, [collection]);
        return deleteUnused(tx, collection, model, limit);
      }),
    removeUnusedVectors: (before, limit) =>
      db.transaction(async (tx) => {
        // Whoever writes to the collection now goes first.
        const [row] = await tx.query<{ collection: number; model: string }>(
          `select u.collection, u.model from rag.unused_vectors u join rag.collections c on c.uid = u.collection
           where u.since < $1 order by u.since limit 1 for update of c skip locked`,
          [before],
        );
        if (row !== undefined) await deleteUnused(tx, row.collection, row.model, limit);
      }),
  };
}

interface Counts {
  readonly done: number;
  readonly total: number;
}

async function countVectors(tx: SqlSession, { collection, model: old }: JobLease, model: string): Promise<Counts> {
  const rows = await tx.query<{ model: string; chunks: number }>(
    `select model, sum(chunk_count)::float8 as chunks from rag.vectors where collection = $1 and model in ($2, $3) group by model`,
    [collection, old, model],
  );
  const of = (name: string) => rows.find((row) => row.model === name)?.chunks ?? 0;
  return { done: of(model), total: of(old) };
}

async function storeCounts(tx: SqlSession, { jobId }: JobLease, { done, total }: Counts): Promise<JobRecord> {
  const [row] = await tx.query<JobRow>(`update rag.jobs set chunks = $2, total_chunks = $3 where id = $1 returning ${JOB_COLUMNS}`, [jobId, done, total]);
  return toJob(row!);
}

async function addVectors(tx: SqlSession, lease: JobLease, model: string, added: readonly NewVectors[]): Promise<JobRecord> {
  await lockForWriting(tx, lease);
  // A run is of one document, and documents go as a whole: where the first chunk is, all are.
  const rows = await tx.query<{ chunk_count: number }>(
    `insert into rag.vectors (collection, model, first_chunk, chunk_count, data)
     select $1, $2, first, count, data from unnest($3::bigint[], $4::int[], $5::bytea[]) as made(first, count, data)
     where exists (select 1 from rag.chunks where collection = $1 and id = made.first)
     on conflict do nothing returning chunk_count`,
    [lease.collection, model, added.map(({ run }) => run.first), added.map(({ run }) => run.count), added.map(({ vectors }) => vectors)],
  );
  const [row] = await tx.query<JobRow>(
    `update rag.jobs set chunks = chunks + $2, fruitless_attempts = 0 where id = $1 returning ${JOB_COLUMNS}`,
    [lease.jobId, rows.reduce((sum, { chunk_count }) => sum + chunk_count, 0)],
  );
  return toJob(row!);
}

async function switchModel(tx: SqlSession, lease: JobLease, model: string, now: Date): Promise<JobRecord | undefined> {
  // Nothing is ingested or deleted until this is committed.
  await lockForWriting(tx, lease);
  const counts = await countVectors(tx, lease, model);
  if (counts.done < counts.total) return undefined;
  await tx.query(`update rag.collections set embedding_model = $2, epoch = epoch + 1 where uid = $1`, [lease.collection, model]);
  await markUnused(tx, lease.collection, lease.model, now);
  await storeCounts(tx, lease, counts);
  const [row] = await tx.query<JobRow>(
    `update rag.jobs set state = 'SUCCEEDED', phase = 'NONE', end_time = $2, owner = null, lease_until = null
     where id = $1 returning ${JOB_COLUMNS}`,
    [lease.jobId, now],
  );
  return toJob(row!);
}

/** What a re-embedding that ended without its switch has made is used by nobody. */
export async function discardVectors(tx: SqlSession, jobId: string, now: Date): Promise<void> {
  const [job] = await tx.query<{ collection: number; target_model: string }>(
    `select j.collection, j.target_model from rag.jobs j join rag.collections c on c.uid = j.collection
     where j.id = $1 and j.target_model <> c.embedding_model`,
    [jobId],
  );
  if (job !== undefined) await markUnused(tx, job.collection, job.target_model, now);
}

async function markUnused(tx: SqlSession, collection: number, model: string, now: Date): Promise<void> {
  await tx.query(
    `insert into rag.unused_vectors (collection, model, since) values ($1, $2, $3)
     on conflict (collection, model) do update set since = excluded.since`,
    [collection, model, now],
  );
}

/** Resolves whether there may be more. The caller holds the collection's lock. */
async function deleteUnused(tx: SqlSession, collection: number, model: string, limit: number): Promise<boolean> {
  const gone = await tx.query(
    `delete from rag.vectors v using rag.unused_vectors u
     where u.collection = $1 and u.model = $2 and v.collection = $1 and v.model = $2 and v.first_chunk in (
       select first_chunk from rag.vectors where collection = $1 and model = $2 order by first_chunk limit $3)
     returning 1`,
    [collection, model, limit],
  );
  if (gone.length === limit) return true;
  await tx.query(`delete from rag.unused_vectors where collection = $1 and model = $2`, [collection, model]);
  return false;
}
