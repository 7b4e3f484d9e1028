import type { SqlSession } from "../../../runtime/sql/database.js";
import { type JobLease, LeaseLostError, ModelChangedError } from "./store.js";

/** Locks the job's row for the transaction. Rejects with LeaseLostError when another worker, a cancellation or a deletion has it. */
export async function holdLease(tx: SqlSession, lease: JobLease): Promise<void> {
  const [row] = await tx.query(
    `select 1 from rag.jobs where id = $1 and owner = $2 and attempt = $3 and state = 'RUNNING' for update`,
    [lease.jobId, lease.owner, lease.attempt],
  );
  if (row === undefined) throw new LeaseLostError(`job ${lease.jobId} is no longer held`);
}

/**
 * The collection's row first, the job's second, as whoever deletes a collection does: no deadlock. Rejects with LeaseLostError, or
 * with ModelChangedError when the collection has no longer the lease's model.
 */
export async function lockForWriting(tx: SqlSession, lease: JobLease): Promise<void> {
  const [held] = await tx.query<{ embedding_model: string }>(
    `select embedding_model from rag.collections where uid = $1 for update`,
    [lease.collection],
  );
  if (held === undefined) throw new LeaseLostError("the collection is gone");
  await holdLease(tx, lease);
  if (held.embedding_model !== lease.model) throw new ModelChangedError(`the collection's model is ${held.embedding_model} now`);
}
