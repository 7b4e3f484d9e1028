import type { SqlDatabase, SqlSession } from "../../../runtime/sql/database.js";
import { sqlState, UNIQUE_VIOLATION } from "../../../runtime/sql/database.js";
import { JOB_COLUMNS, type JobRow, toJob } from "./rows.js";
import { discardVectors } from "./reembedding.js";
import { removeAllWindows } from "./windows.js";
import { type JobDocument, type JobRecord, type JobStore, LeaseLostError, type NewJob, type StagedDocuments } from "./store.js";

/** The side of jobs that callers see; the workers' side is in job-leases.ts. */
export type JobRequests = Pick<
  JobStore,
  "createJob" | "stage" | "queueJob" | "findJob" | "abandonJob" | "getJob" | "listJobs" | "jobBacklog" | "cancelJob" | "pruneJobs"
>;

export function jobRequests(db: SqlDatabase): JobRequests {
  async function find(tenant: string, id: string): Promise<JobRecord | undefined> {
    const [row] = await db.query<JobRow>(
      `select ${JOB_COLUMNS} from rag.jobs where tenant = $1 and id = $2 and state <> 'STAGING'`,
      [tenant, id],
    );
    return row && toJob(row);
  }

  async function findByKey(collection: number, key: string, reuseAfter: Date): Promise<JobRecord | undefined> {
    const [row] = await db.query<JobRow>(
      `select ${JOB_COLUMNS} from rag.jobs
       where collection = $1 and idempotency_key = $2 and state <> 'STAGING' and create_time > $3`,
      [collection, key, reuseAfter],
    );
    return row && toJob(row);
  }

  return {
    async createJob(job, now, leaseUntil) {
      try {
        await insertJob(db, job, now, leaseUntil);
        return true;
      } catch (error) {
        if (job.targetModel === undefined || sqlState(error) !== UNIQUE_VIOLATION) throw error;
        return false;
      }
    },
    stage: (jobId, staged, leaseUntil) => db.transaction((tx) => stage(tx, jobId, staged, leaseUntil)),
    async queueJob(jobId, idempotencyKey, reuseAfter) {
      if (idempotencyKey === "") return queue(db, jobId, null);
      try {
        return await db.transaction(async (tx) => {
          await tx.query(
            `update rag.jobs set idempotency_key = null
             where idempotency_key = $2 and create_time <= $3 and collection = (select collection from rag.jobs where id = $1)`,
            [jobId, idempotencyKey, reuseAfter],
          );
          return queue(tx, jobId, idempotencyKey);
        });
      } catch (error) {
        if (sqlState(error) !== UNIQUE_VIOLATION) throw error;
        const [row] = await db.query<{ collection: number }>(`select collection from rag.jobs where id = $1`, [jobId]);
        const earlier = row && (await findByKey(row.collection, idempotencyKey, reuseAfter));
        if (earlier === undefined) throw error;
        await abandon(db, jobId);
        return earlier;
      }
    },
    findJob: findByKey,
    abandonJob: (jobId) => abandon(db, jobId),
    getJob: find,
    async listJobs(tenant, collection, { after, limit }) {
      const rows = await db.query<JobRow>(
        `select ${JOB_COLUMNS} from rag.jobs
         where tenant = $1 and state <> 'STAGING' and ($2::text is null or collection_id = $2)
           and ($3::timestamptz is null or (create_time, id) < ($3, $4::text))
         order by create_time desc, id desc limit $5`,
        [tenant, collection ?? null, after?.createTime ?? null, after?.id ?? null, limit],
      );
      return rows.map(toJob);
    },
    async jobBacklog() {
      const [row] = await db.query<{ queued: number; running: number; oldest: Date | null }>(
        `select count(*) filter (where state = 'QUEUED')::int as queued, count(*) filter (where state = 'RUNNING')::int as running,
           min(create_time) filter (where state = 'QUEUED') as oldest
         from rag.jobs where state in ('STAGING', 'QUEUED', 'RUNNING')`,
      );
      return { queued: row?.queued ?? 0, running: row?.running ?? 0, oldestQueued: row?.oldest ?? undefined };
    },
    async cancelJob(tenant, id, now) {
      const row = await db.transaction(async (tx) => {
        const [cancelled] = await tx.query<JobRow>(
          `update rag.jobs set state = 'CANCELLED', phase = 'NONE', end_time = $3, owner = null, lease_until = null
           where tenant = $1 and id = $2 and state in ('QUEUED', 'RUNNING') returning ${JOB_COLUMNS}`,
          [tenant, id, now],
        );
        if (cancelled !== undefined) await discardVectors(tx, id, now);
        return cancelled;
      });
      if (row !== undefined) {
        await removeStaged(db, [id]);
        return { job: toJob(row), cancelled: true };
      }
      const job = await find(tenant, id);
      return job && { job, cancelled: false };
    },
    async pruneJobs(now, endedBefore) {
      const gone = await db.query<{ id: string }>(
        `delete from rag.jobs where (state = 'STAGING' and lease_until < $1) or end_time < $2 returning id`,
        [now, endedBefore],
      );
      await removeStaged(db, gone.map(({ id }) => id));
    },
  };
}

async function insertJob(db: SqlSession, job: NewJob, now: Date, leaseUntil: Date): Promise<void> {
  await db.query(
    `insert into rag.jobs (id, tenant, collection, collection_id, state, path, metadata, readers, sync_prefix, target_model, enumerated,
       lease_until, create_time)
     values ($1, $2, $3, $4, 'STAGING', $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      job.id,
      job.collection.tenant,
      job.collection.uid,
      job.collection.id,
      job.path === undefined ? null : JSON.stringify(job.path),
      JSON.stringify(job.metadata),
      job.readers,
      job.syncPrefix ?? null,
      job.targetModel ?? null,
      job.path === undefined,
      leaseUntil,
      now,
    ],
  );
}

async function stage(tx: SqlSession, jobId: string, { documents, parts, hashes }: StagedDocuments, leaseUntil: Date): Promise<void> {
  const bytes = parts.reduce((sum, part) => sum + part.bytes.length, 0);
  const [job] = await tx.query(
    `update rag.jobs set lease_until = $2, total_documents = total_documents + $3, total_bytes = total_bytes + $4
     where id = $1 and state = 'STAGING' returning 1`,
    [jobId, leaseUntil, documents.length, bytes],
  );
  if (job === undefined) throw new LeaseLostError("the upload took too long or its collection is gone");
  if (documents.length > 0) await insertJobDocuments(tx, jobId, documents.map((document) => ({ ...document, file: undefined })));
  if (parts.length > 0) {
    await tx.query(
      `insert into rag.job_parts (job, ordinal, part, data) select $1, * from unnest($2::int[], $3::int[], $4::bytea[])`,
      [jobId, parts.map(({ ordinal }) => ordinal), parts.map(({ part }) => part), parts.map(({ bytes: data }) => data)],
    );
  }
  const grown = [
    ...parts.map(({ ordinal, bytes: data }) => ({ ordinal, bytes: data.length, hash: null })),
    ...hashes.map(({ ordinal, contentHash: hash }) => ({ ordinal, bytes: 0, hash })),
  ];
  if (grown.length === 0) return;
  await tx.query(
    `update rag.job_documents d set size_bytes = size_bytes + x.bytes, content_hash = x.hash
     from (select ordinal, sum(bytes) as bytes, max(hash) as hash from unnest($2::int[], $3::int[], $4::text[]) as part(ordinal, bytes, hash)
       group by ordinal) x
     where d.job = $1 and d.ordinal = x.ordinal`,
    [jobId, grown.map(({ ordinal }) => ordinal), grown.map(({ bytes: count }) => count), grown.map(({ hash }) => hash)],
  );
}

export async function insertJobDocuments(
  tx: SqlSession,
  jobId: string,
  documents: readonly JobDocument[],
): Promise<void> {
  await tx.query(
    `insert into rag.job_documents (job, ordinal, document_id, source, mime_type, metadata, readers, size_bytes, file, url)
     select $1, ordinal, document_id, source, mime_type, metadata, readers, size_bytes, file, url
     from json_to_recordset($2::json) as x(ordinal int, document_id text, source text, mime_type text, metadata jsonb,
       readers text[], size_bytes bigint, file text, url text)`,
    [
      jobId,
      JSON.stringify(
        documents.map((document) => ({
          ordinal: document.ordinal,
          document_id: document.documentId,
          source: document.source,
          mime_type: document.mimeType,
          metadata: document.metadata,
          readers: document.readers,
          size_bytes: document.sizeBytes,
          file: document.file,
          url: document.url,
        })),
      ),
    ],
  );
}

async function queue(db: SqlSession, jobId: string, idempotencyKey: string | null): Promise<JobRecord> {
  const [row] = await db.query<JobRow>(
    `update rag.jobs set state = 'QUEUED', lease_until = null, idempotency_key = $2
     where id = $1 and state = 'STAGING' returning ${JOB_COLUMNS}`,
    [jobId, idempotencyKey],
  );
  if (row === undefined) throw new LeaseLostError("the upload took too long or its collection is gone");
  return toJob(row);
}

async function abandon(db: SqlSession, jobId: string): Promise<void> {
  const gone = await db.query<{ id: string }>(`delete from rag.jobs where id = $1 and state = 'STAGING' returning id`, [jobId]);
  await removeStaged(db, gone.map(({ id }) => id));
}

/** Removes what jobs staged and what is incomplete. They have ended, so nobody reads it any more; a crash in between leaves rows for pruneJobs. */
export async function removeStaged(db: SqlSession, jobIds: readonly string[]): Promise<void> {
  if (jobIds.length === 0) return;
  for (const jobId of jobIds) await removeAllWindows(db, jobId);
  await db.query(`delete from rag.job_parts where job = any($1::text[])`, [jobIds]);
  await db.query(`delete from rag.job_documents where job = any($1::text[])`, [jobIds]);
}
