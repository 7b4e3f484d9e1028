import type { SqlDatabase } from "../../../runtime/sql/database.js";
import { countChanges } from "./counting.js";
import { lockForWriting } from "./locks.js";
import { REPLACED_COLUMNS, type ReplacedDocument, removeContents } from "./removal.js";
import type { JobStore } from "./store.js";

export function synchronisingStore(db: SqlDatabase): Pick<JobStore, "removeMissing"> {
  return {
    removeMissing: (lease, limit, now) =>
      db.transaction(async (tx) => {
        await lockForWriting(tx, lease);
        // What stands below a folder that could not be read may still be there: such a folder is a document of the job that ends in "/".
        // A set's difference costs what both sets cost, whatever the planner knows of the tables.
        const removed = await tx.query<ReplacedDocument>(
          `with folders as materialized (
             select document_id from rag.job_documents where job = $2 and right(document_id, 1) = '/'),
           missing as materialized (
             select d.id from rag.documents d, rag.jobs j where d.collection = $1 and j.id = $2 and starts_with(d.id, j.sync_prefix)
             except select document_id from rag.job_documents where job = $2)
           delete from rag.documents where collection = $1 and id in (
             select id from missing where not exists (select 1 from folders f where starts_with(missing.id, f.document_id)) limit $3)
           returning ${REPLACED_COLUMNS}`,
          [lease.collection, lease.jobId, limit],
        );
        if (removed.length === 0) return 0;
        await removeContents(tx, lease.collection, removed);
        await countChanges(tx, lease.collection, { added: [], removed, now });
        await tx.query(`update rag.jobs set removed_documents = removed_documents + $2 where id = $1`, [lease.jobId, removed.length]);
        return removed.length;
      }),
  };
}
