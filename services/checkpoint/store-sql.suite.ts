import type { SqlDatabase } from "../../runtime/sql/database.js";

/** Empties the store's tables. */
export async function clearSqlStore(db: SqlDatabase): Promise<void> {
  const tables = ["threads", "langgraph_checkpoints", "checkpoint_writes", "contents", "turns"];
  await db.query(`truncate ${tables.map((table) => `checkpoint.${table}`).join(", ")}`);
}
