import pg from "pg";
import { startThread } from "../threads/start-thread.js";
import type { PreparedStatement, SqlDatabase } from "./database.js";
import { PgliteSocket } from "./pglite-socket.js";
import { rowsOf, sqlTypes, transactionOn } from "./pool-database.js";

/**
 * Opens the embedded PostgreSQL in a folder, or in memory without one, in a thread of its own: calls are answered while it
 * works. One process at a time may have a folder open: the caller holds its lock. Statements and transactions run one after
 * another, on one connection; statements do not wait for each other's answers, so that those which come while the engine
 * works go to it together. Each is durable, and fails, by itself.
 */
export async function openPglite(folder?: string): Promise<SqlDatabase> {
  const thread = startThread("./pglite-thread.js", import.meta.url, { workerData: { folder } });
  const socket = new PgliteSocket(thread);
  await socket.opened;
  // The types of pg do not know it yet.
  const pipelined = { pipeline: true };
  const client = new pg.Client({ stream: () => socket, user: "postgres", types: sqlTypes(), ...pipelined });
  // Who asks is told of a connection that broke; unheard, the event would end the process.
  client.on("error", () => {});
  await client.connect();
  let transaction: Promise<unknown> | undefined;
  let closing: Promise<void> | undefined;

  async function query<R>(statement: string | PreparedStatement, parameters: unknown[] = []): Promise<R[]> {
    while (transaction !== undefined) await transaction;
    return rowsOf<R>(client, statement, parameters);
  }

  async function close(): Promise<void> {
    // Answers come in order: then all have that were asked for before.
    await query("select 1").catch(() => {});
    await client.end();
    await socket.threadEnded;
  }

  return {
    engine: "pglite",
    query,
    async transaction(work) {
      while (transaction !== undefined) await transaction;
      const result = transactionOn(client, work, () => {});
      transaction = result.then(
        () => (transaction = undefined),
        () => (transaction = undefined),
      );
      return result;
    },
    async ping() {
      await query("select 1");
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}
