import { mkdir } from "node:fs/promises";
import { PGlite, types } from "@electric-sql/pglite";
import type { SqlDatabase } from "./database.js";

/**
 * Opens the embedded PostgreSQL in a folder, or in memory without one. One
 * process at a time may have a folder open: the caller holds its lock.
 * Statements and transactions run one after another.
 */
export async function openPglite(folder?: string): Promise<SqlDatabase> {
  if (folder !== undefined) await mkdir(folder, { recursive: true });
  const db = await PGlite.create({
    ...(folder === undefined ? {} : { dataDir: folder }),
    parsers: {
      // PGlite's own parser of bytea is 8 to 14 times slower.
      [types.BYTEA]: (value: string) => Buffer.from(value.slice(2), "hex"),
      [types.INT8]: (value: string) => Number(value),
    },
    serializers: {
      [types.BYTEA]: (value: unknown) => toHex(value),
      // Like pg: parameters for JSON are JSON text already.
      [types.JSON]: (value: unknown) => String(value),
      [types.JSONB]: (value: unknown) => String(value),
    },
  });
  let closing: Promise<void> | undefined;
  return {
    engine: "pglite",
    query: async <R>(text: string, parameters: unknown[] = []) => (await db.query<R>(text, parameters)).rows,
    transaction: <T>(work: Parameters<SqlDatabase["transaction"]>[0]) =>
      db.transaction((tx) =>
        work({ query: async <R>(text: string, parameters: unknown[] = []) => (await tx.query<R>(text, parameters)).rows }),
      ) as Promise<T>,
    async ping() {
      await db.query("select 1");
    },
    close() {
      closing ??= db.close();
      return closing;
    },
  };
}

function toHex(value: unknown): string {
  if (!(value instanceof Uint8Array)) throw new TypeError("bytea parameters are Buffer or Uint8Array");
  return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")}`;
}
