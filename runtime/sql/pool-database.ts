import pg from "pg";
import { isUnreachable, type PreparedStatement, type SqlDatabase, type SqlSession } from "./database.js";

const INT8 = 20;
const INT8_ARRAY = 1016;

/** Parameter and column types as `SqlSession` promises them. */
export function sqlTypes(): pg.CustomTypesConfig {
  const types = new pg.TypeOverrides();
  types.setTypeParser(INT8, Number);
  types.setTypeParser(INT8_ARRAY as never, (value: string) =>
    (pg.types.getTypeParser(INT8_ARRAY as never)(value) as string[]).map(Number),
  );
  return types;
}

/** A database by a pool of connections to it, which it closes. */
export function poolDatabase(pool: pg.Pool): SqlDatabase {
  let closing: Promise<void> | undefined;
  return {
    engine: "postgres",
    query: async <R>(statement: string | PreparedStatement, parameters: unknown[] = []) =>
      onConnection(pool, (client) => rowsOf<R>(client, statement, parameters)),
    transaction: (work) => onConnection(pool, (client, giveUp) => transactionOn(client, work, giveUp)),
    async ping() {
      await pool.query("select 1");
    },
    close() {
      closing ??= pool.end();
      return closing;
    },
  };
}

/** Lends a connection of the pool. One that breaks is not lent again; one on which a statement was refused is as good as before. */
async function onConnection<T>(pool: pg.Pool, use: (client: pg.PoolClient, giveUp: (why: Error) => void) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const giveUp = (why: Error) => {
    broken ??= why;
  };
  // A connection that breaks between two statements says so by an event; unheard, it would end the process.
  client.on("error", giveUp);
  try {
    return await use(client, giveUp);
  } catch (error) {
    if (isUnreachable(error)) giveUp(error as Error);
    throw error;
  } finally {
    // It may still speak while it is torn down.
    if (broken === undefined) client.removeListener("error", giveUp);
    client.release(broken);
  }
}

/** Runs `work` in a transaction on a connection, which nobody else uses meanwhile; `giveUp` is told when it may not be used again. */
export async function transactionOn<T>(client: pg.ClientBase, work: (tx: SqlSession) => Promise<T>, giveUp: (why: Error) => void): Promise<T> {
  await client.query("begin");
  try {
    const result = await work({ query: (statement, parameters = []) => rowsOf(client, statement, parameters) });
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch(giveUp);
    throw error;
  }
}

/** Runs a statement on a connection. */
export async function rowsOf<R>(client: pg.ClientBase, statement: string | PreparedStatement, parameters: unknown[]): Promise<R[]> {
  const named = typeof statement === "string" ? { text: statement } : statement;
  return (await client.query({ ...named, values: parameters.map(toParameter) })).rows as R[];
}

/** pg sends a Uint8Array as JSON text unless it is a Buffer. */
function toParameter(value: unknown): unknown {
  if (value instanceof Uint8Array && !Buffer.isBuffer(value)) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }
  return Array.isArray(value) ? value.map(toParameter) : value;
}
