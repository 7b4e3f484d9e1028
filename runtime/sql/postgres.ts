import pg from "pg";
import { Gauge, type Registry } from "prom-client";
import type { SqlDatabase } from "./database.js";
import { poolDatabase, sqlTypes } from "./pool-database.js";

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

/** A new connection knows neither plans nor tables: one that was idle for a moment is kept, in milliseconds. */
const IDLE_MS = 300_000;

/** Opens a pool on a PostgreSQL server. Connects lazily. */
export function openPostgres(options: PostgresOptions): SqlDatabase {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.maxConnections ?? 10,
    idleTimeoutMillis: IDLE_MS,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
    types: sqlTypes(),
  });
  // Without a listener a server restart would end the process.
  pool.on("error", (error) => {
    // The pool hangs the whole connection on its error, which would go to the log with it.
    delete (error as { client?: unknown }).client;
    options.onIdleError?.(error);
  });
  if (options.metrics !== undefined) showPool(pool, options.metrics);
  return poolDatabase(pool);
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
