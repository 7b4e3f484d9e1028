import type { JsonObject } from "@bufbuild/protobuf";
import type { SqlDatabase } from "../../../runtime/sql/database.js";
import { insertJobDocuments, removeStaged } from "./jobs.js";
import { holdLease } from "./locks.js";
import { discardVectors } from "./reembedding.js";
import { COLLECTION_COLUMNS, type CollectionRow, JOB_COLUMNS, type JobRow, toCollection, toJob } from "./rows.js";
import { type JobStore, LeaseLostError, type NewJob } from "./store.js";

/** The side of jobs that workers use. */
export type JobWork = Pick<
  JobStore,
  "claimJob" | "renewLease" | "releaseJob" | "postponeJob" | "addJobDocuments" | "waitingDocuments" | "readPart" | "finishJob"
>;

const ROWS_PER_INSERT = 5_000;

interface ClaimedRow extends JobRow {
  collection: number;
  attempt: number;
  path: NonNullable<NewJob["path"]> | null;
  metadata: JsonObject;
  readers: string[];
  sync_prefix: string | null;
  enumerated: boolean;
  fruitless_attempts: number;
}

interface JobDocumentRow {
  ordinal: number;
  document_id: string;
  source: string;
  mime_type: string;
  metadata: JsonObject;
  readers: string[];
  size_bytes: number;
  file: string | null;
  url: string | null;
  content_hash: string | null;
}

export function jobWork(db: SqlDatabase): JobWork {
  return {
    async claimJob(owner, now, leaseUntil) {
      const [row] = await db.query<ClaimedRow>(
        `update rag.jobs set state = 'RUNNING', owner = $1, lease_until = $3, attempt = attempt + 1,
           fruitless_attempts = fruitless_attempts + 1, start_time = coalesce(start_time, $2)
         where id = (
           select id from rag.jobs
           where state = 'QUEUED' or (state = 'RUNNING' and (lease_until is null or lease_until < $2))
           order by create_time, id limit 1 for update skip locked)
         returning ${JOB_COLUMNS}, collection, attempt, path, metadata, readers, sync_prefix, enumerated, fruitless_attempts`,
        [owner, now, leaseUntil],
      );
      if (row === undefined) return undefined;
      const [collection] = await db.query<CollectionRow>(`select ${COLLECTION_COLUMNS} from rag.collections where uid = $1`, [row.collection]);
      if (collection === undefined) return undefined;
      return {
        lease: { jobId: row.id, collection: row.collection, owner, attempt: row.attempt, model: collection.embedding_model },
        job: toJob(row),
        collection: toCollection(collection),
        path: row.path ?? undefined,
        metadata: row.metadata,
        readers: row.readers,
        syncPrefix: row.sync_prefix ?? undefined,
        enumerated: row.enumerated,
        fruitlessAttempts: row.fruitless_attempts - 1,
      };
    },
    async renewLease(lease, { phase }, leaseUntil) {
      const [row] = await db.query(
        `update rag.jobs set lease_until = $4, phase = $5
         where id = $1 and owner = $2 and attempt = $3 and state = 'RUNNING' returning 1`,
        [lease.jobId, lease.owner, lease.attempt, leaseUntil, phase],
      );
      if (row === undefined) throw new LeaseLostError(`job ${lease.jobId} is no longer held`);
    },
    async releaseJob(lease) {
      await db.query(
        `update rag.jobs set owner = null, lease_until = null, phase = 'NONE', fruitless_attempts = greatest(fruitless_attempts - 1, 0)
         where id = $1 and owner = $2 and attempt = $3 and state = 'RUNNING'`,
        [lease.jobId, lease.owner, lease.attempt],
      );
    },
    async postponeJob(lease, retryAt) {
      await db.query(
        `update rag.jobs set owner = null, lease_until = $4, phase = 'NONE'
         where id = $1 and owner = $2 and attempt = $3 and state = 'RUNNING'`,
        [lease.jobId, lease.owner, lease.attempt, retryAt],
      );
    },
    addJobDocuments: (lease, documents, ignoredFiles) =>
      db.transaction(async (tx) => {
        await holdLease(tx, lease);
        for (let start = 0; start < documents.length; start += ROWS_PER_INSERT) {
          await insertJobDocuments(tx, lease.jobId, documents.slice(start, start + ROWS_PER_INSERT));
        }
        await tx.query(
          `update rag.jobs set total_documents = $2, total_bytes = $3, ignored_files = $4, enumerated = true where id = $1`,
          [lease.jobId, documents.length, documents.reduce((sum, document) => sum + document.sizeBytes, 0), ignoredFiles],
        );
      }),
    async waitingDocuments(jobId, { after = -1, limit }) {
      const rows = await db.query<JobDocumentRow>(
        `select ordinal, document_id, source, mime_type, metadata, readers, size_bytes, file, url, content_hash from rag.job_documents
         where job = $1 and waiting and ordinal > $2 order by ordinal limit $3`,
        [jobId, after, limit],
      );
      return rows.map((row) => ({
        ordinal: row.ordinal,
        documentId: row.document_id,
        source: row.source,
        mimeType: row.mime_type,
        metadata: row.metadata,
        readers: row.readers,
        sizeBytes: row.size_bytes,
        file: row.file ?? undefined,
        url: row.url ?? undefined,
        contentHash: row.content_hash ?? undefined,
      }));
    },
    async readPart(jobId, ordinal, part) {
      const [row] = await db.query<{ data: Buffer }>(
        `select data from rag.job_parts where job = $1 and ordinal = $2 and part = $3`,
        [jobId, ordinal, part],
      );
      return row?.data;
    },
    finishJob: (lease, state, now, failure) =>
      db.transaction(async (tx) => {
        await holdLease(tx, lease);
        const [row] = await tx.query<JobRow>(
          `update rag.jobs set state = $2, phase = 'NONE', end_time = $3, owner = null, lease_until = null, failures = failures || $4::jsonb
           where id = $1 returning ${JOB_COLUMNS}`,
          [lease.jobId, state, now, JSON.stringify(failure === undefined ? [] : [failure])],
        );
        await discardVectors(tx, lease.jobId, now);
        await removeStaged(tx, [lease.jobId]);
        return toJob(row!);
      }),
  };
}
