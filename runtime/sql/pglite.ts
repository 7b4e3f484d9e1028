import pg from "pg";
import { startThread } from "../threads/start-thread.js";
import type { SqlDatabase } from "./database.js";
import { PgliteSocket } from "./pglite-socket.js";
import { poolDatabase, sqlTypes } from "./pool-database.js";

/**
 * Opens the embedded PostgreSQL in a folder, or in memory without one, in a thread of its own: calls are answered while it
 * works. One process at a time may have a folder open: the caller holds its lock. Statements and transactions run one after
 * another, on one connection.
 */
export async function openPglite(folder?: string): Promise<SqlDatabase> {
  const thread = startThread("./pglite-thread.js", import.meta.url, { workerData: { folder } });
  const socket = new PgliteSocket(thread);
  await socket.opened;
  // The engine has one session, which is there as long as the thread is.
  const pool = new pg.Pool({ stream: () => socket, user: "postgres", max: 1, idleTimeoutMillis: 0, types: sqlTypes() });
  pool.on("error", () => {});
  return poolDatabase("pglite", pool, async () => {
    await pool.end();
    await socket.threadEnded;
  });
}
