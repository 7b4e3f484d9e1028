/** A connection to PostgreSQL, or to the PostgreSQL inside the process (PGlite): one dialect, one set of parameter types. */
export interface SqlSession {
  /**
   * Runs one statement with $1, $2 ... parameters and returns its rows.
   * bytea is Buffer (give Buffer or Uint8Array), bigint is number, timestamptz
   * is Date, jsonb is the parsed value (give JSON text).
   */
  query<R = Record<string, unknown>>(statement: string | PreparedStatement, parameters?: unknown[]): Promise<R[]>;
}

/**
 * A statement that is run often: each connection parses and plans it once, and keeps it. Its result must not have the
 * columns of a table that may get others (select *): PostgreSQL refuses to run it then.
 */
export interface PreparedStatement {
  /** Its own among those of the database; at most 63 bytes. */
  readonly name: string;
  readonly text: string;
}

/** No LISTEN and no advisory locks: the embedded engine has none that work. */
export interface SqlDatabase extends SqlSession {
  readonly engine: "postgres" | "pglite";
  /** Runs `work` in one transaction: committed when it resolves, rolled back when it rejects. */
  transaction<T>(work: (tx: SqlSession) => Promise<T>): Promise<T>;
  /** Resolves when the database answers. */
  ping(): Promise<void>;
  /** Idempotent. Ends the connections that this handle opened. */
  close(): Promise<void>;
}

/** A PostgreSQL error's SQLSTATE, e.g. "23505"; undefined for anything else. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

export const UNIQUE_VIOLATION = "23505";

/** SQLSTATE classes that blame the server and not the statement: connection, resources, shutdown. */
const UNREACHABLE_STATE = /^(08|53|57P)/;
/** How the driver says the same where it has no code for it. */
const UNREACHABLE_MESSAGE = /^(connection terminated|timeout exceeded when trying to connect|client has encountered a connection error|client was closed)/i;

/** Whether an error means that the database cannot be reached now, or has no connection free: trying again may help. */
export function isUnreachable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ("syscall" in error || (error as { code?: unknown }).code === "EPIPE") return true;
  const state = sqlState(error);
  return state === undefined ? UNREACHABLE_MESSAGE.test(error.message) : UNREACHABLE_STATE.test(state);
}
