import type { SqlDatabase } from "../../../runtime/sql/database.js";
import { migrate } from "../../../runtime/sql/migrate.js";
import { batchStore } from "./batches.js";
import { collectionStore } from "./collections.js";
import { documentStore } from "./documents.js";
import { indexStore } from "./index-store.js";
import { jobWork } from "./job-leases.js";
import { jobRequests } from "./jobs.js";
import { reembeddingStore } from "./reembedding.js";
import { migrations, SCHEMA } from "./schema.js";
import type { RagStore } from "./store.js";
import { synchronisingStore } from "./synchronising.js";
import { windowStore } from "./windows.js";

/** The store on PostgreSQL, of the server or inside the process. Brings its schema to the newest version. The caller closes `db`. */
export async function openSqlStore(db: SqlDatabase): Promise<RagStore> {
  await migrate(db, SCHEMA, migrations);
  // Nobody else works on the embedded database: whoever held a job when it was closed is gone, and nobody waits for the lease.
  if (db.engine === "pglite") await db.query(`update rag.jobs set owner = null, lease_until = null where state = 'RUNNING'`);
  return {
    ...collectionStore(db),
    ...documentStore(db),
    ...jobRequests(db),
    ...jobWork(db),
    ...batchStore(db),
    ...windowStore(db),
    ...synchronisingStore(db),
    ...reembeddingStore(db),
    ...indexStore(db),
    ping: () => db.ping(),
  };
}
