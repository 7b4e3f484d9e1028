import { join } from "node:path";
import { openDataFolder } from "../data-folder.js";
import type { SqlDatabase } from "./database.js";
import { openPglite } from "./pglite.js";

/**
 * Opens the embedded database of a data folder, for one process at a time:
 * throws ConfigError, in a sentence, when another one has it open or the folder
 * cannot be written to. Closing gives the folder back.
 */
export async function openEmbeddedDatabase(folder: string): Promise<SqlDatabase> {
  const owned = openDataFolder(folder);
  try {
    const db = await openPglite(join(owned.path, "postgres"));
    return { ...db, close: () => db.close().finally(() => owned.release()) };
  } catch (error) {
    owned.release();
    throw error;
  }
}
