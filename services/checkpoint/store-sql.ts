import type { SqlDatabase } from "../../runtime/sql/database.js";
import { migrate } from "../../runtime/sql/migrate.js";
import { storeUnavailable } from "./errors.js";
import { sqlCheckpoints } from "./sql/checkpoints.js";
import { sqlLeases } from "./sql/leases.js";
import { MIGRATIONS, SCHEMA } from "./sql/schema.js";
import { sqlThreads } from "./sql/threads.js";
import type { CheckpointStore } from "./store.js";

export interface SqlCheckpointStoreOptions {
  /** Threads that are not used for so long expire, in milliseconds; undefined: never. */
  ttlMs?: number | undefined;
}

/** Keeps checkpoints in PostgreSQL or PGlite: the same statements on both. Brings the schema up to date first. */
export async function openSqlCheckpointStore(
  db: SqlDatabase,
  { ttlMs }: SqlCheckpointStoreOptions = {},
): Promise<CheckpointStore> {
  await migrate(db, SCHEMA, MIGRATIONS);
  const expiry = (now: Date) => (ttlMs === undefined ? null : new Date(now.getTime() + ttlMs));
  const context = { db, expiry };
  return {
    ...sqlCheckpoints(context, ttlMs),
    ...sqlThreads(context),
    ...sqlLeases(context),
    ping: () =>
      db.ping().catch((error: unknown) => {
        throw storeUnavailable(error);
      }),
    close: () => db.close(),
  };
}
