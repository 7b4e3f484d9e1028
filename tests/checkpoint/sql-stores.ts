import type { SqlDatabase } from "../../runtime/sql/database.js";
import type { CheckpointStore } from "../../services/checkpoint/store.js";
import { openSqlCheckpointStore } from "../../services/checkpoint/store-sql.js";

/** A store, and how a test empties it. */
export async function openClearableStore(
  db: SqlDatabase,
  options: { ttlMs?: number } = {},
): Promise<{ store: CheckpointStore; clear: () => Promise<void> }> {
  const store = await openSqlCheckpointStore(db, options);
  const clear = async () => {
    await db.query(
      `truncate checkpoint.threads, checkpoint.langgraph_checkpoints, checkpoint.checkpoint_writes, checkpoint.contents, checkpoint.turns`,
    );
  };
  return { store, clear };
}
