import { isUnreachable, type PreparedStatement, type SqlDatabase } from "../../../runtime/sql/database.js";
import { storeUnavailable } from "../errors.js";

/** What the parts of the store work with. */
export interface SqlStoreContext {
  readonly db: SqlDatabase;
  /** When a thread that is used now expires; null for never. */
  readonly expiry: (now: Date) => Date | null;
}

/** Runs a statement; rejects with UNAVAILABLE when the database cannot be reached. */
export function query<R>(db: SqlDatabase, statement: string | PreparedStatement, parameters: unknown[]): Promise<R[]> {
  return db.query<R>(statement, parameters).catch((error: unknown) => {
    throw reachable(error);
  });
}

/** The error that a caller may see, where it is not the statement's fault. */
export function reachable(error: unknown): unknown {
  return isUnreachable(error) ? storeUnavailable(error) : error;
}
