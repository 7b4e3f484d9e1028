import pg from "pg";
import { Gauge, type Registry } from "prom-client";
import type { SqlDatabase, SqlSession } from "./database.js";

const INT8 = 20;
const INT8_ARRAY = 1016;

export interface PostgresOptions {
  /** postgres://user:password@host:port/database?options */
  url: string;
  /** Most connections of this process. Default 10. */
  maxConnections?: number;
  /** How long to wait for a free or new connection, in milliseconds. Default 5,000. */
  connectTimeoutMs?: number;
  /** Where the pool's connections are shown, and the name that their metrics begin with. */
  metrics?: { registry: Registry; prefix: string };
  /** Called when an idle connection breaks; the pool opens new ones by itself. */
  onIdleError?: (error: Error) => void;
}

/** Opens a pool on a PostgreSQL server. Connects lazily. */
export function openPostgres(options: PostgresOptions): SqlDatabase {
  const types = new pg.TypeOverrides();
  types.setTypeParser(INT8, Number);
  types.setTypeParser(INT8_ARRAY as never, (value: string) =>
    (pg.types.getTypeParser(INT8_ARRAY as never)(value) as string[]).map(Number),
  );
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
    types,
  });
  // Without a listener a server restart would end the process.
  pool.on("error", (error) => {
    // The pool hangs the whole connection on its error, which would go to the log with it.
    delete (error as { client?: unknown }).client;
    options.onIdleError?.(error);
  });
  if (options.metrics !== undefined) showPool(pool, options.metrics);
  let closing: Promise<void> | undefined;

  return {
    engine: "postgres",
    query: async <R>(text: string, parameters: unknown[] = []) =>
      (await pool.query(text, parameters.map(toParameter))).rows as R[],
    async transaction(work) {
      const client = await pool.connect();
      const session: SqlSession = {
        query: async <R>(text: string, parameters: unknown[] = []) =>
          (await client.query(text, parameters.map(toParameter))).rows as R[],
      };
      let broken: Error | undefined;
      // A connection that breaks between two statements says so by an event; unheard, it would end the process.
      const onBroken = (error: Error) => {
        broken = error;
      };
      client.on("error", onBroken);
      try {
        await client.query("begin");
        const result = await work(session);
        await client.query("commit");
        return result;
      } catch (error) {
        await client.query("rollback").catch((failure: Error) => {
          broken = failure;
        });
        throw error;
      } finally {
        // A connection that cannot roll back is not handed out again; it may still speak while it is torn down.
        if (broken === undefined) client.removeListener("error", onBroken);
        client.release(broken);
      }
    },
    async ping() {
      await pool.query("select 1");
    },
    close() {
      closing ??= pool.end();
      return closing;
    },
  };
}

function showPool(pool: pg.Pool, { registry, prefix }: { registry: Registry; prefix: string }): void {
  new Gauge({
    name: `${prefix}_postgres_connections`,
    help: "Connections of this replica's pool, by state: busy or idle.",
    labelNames: ["state"],
    registers: [registry],
    collect() {
      this.set({ state: "busy" }, pool.totalCount - pool.idleCount);
      this.set({ state: "idle" }, pool.idleCount);
    },
  });
  new Gauge({
    name: `${prefix}_postgres_waiting`,
    help: "Queries of this replica that wait for a connection.",
    registers: [registry],
    collect() {
      this.set(pool.waitingCount);
    },
  });
}

/** pg sends a Uint8Array as JSON text unless it is a Buffer. */
function toParameter(value: unknown): unknown {
  if (value instanceof Uint8Array && !Buffer.isBuffer(value)) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }
  return Array.isArray(value) ? value.map(toParameter) : value;
}
