import { type SqlDatabase, sqlState, UNIQUE_VIOLATION } from "./database.js";

/** One step of a schema's history: its statements, never changed once released. */
export interface Migration {
  /** 1, 2, 3 ... without gaps. */
  readonly version: number;
  readonly statements: readonly string[];
}

const DUPLICATE_SCHEMA = "42P06";
const DUPLICATE_TABLE = "42P07";
/** Of the row type that comes with a table. */
const DUPLICATE_OBJECT = "42710";

/**
 * Brings `schema` to the newest version; forward only. Two replicas may do it
 * at once: the second waits and finds nothing left to do. Rejects when the
 * database is newer than this program.
 */
export async function migrate(db: SqlDatabase, schema: string, migrations: readonly Migration[]): Promise<void> {
  await createHistory(db, schema);
  await db.transaction(async (tx) => {
    await tx.query(`lock table ${schema}.schema_migrations in access exclusive mode`);
    const [row] = await tx.query<{ version: number | null }>(
      `select max(version) as version from ${schema}.schema_migrations`,
    );
    const current = row?.version ?? 0;
    const newest = migrations.at(-1)?.version ?? 0;
    if (current > newest) {
      throw new Error(`The database's schema "${schema}" is at version ${current}, this program knows ${newest}: start a newer release.`);
    }
    for (const migration of migrations.filter(({ version }) => version > current)) {
      for (const statement of migration.statements) await tx.query(statement);
      await tx.query(`insert into ${schema}.schema_migrations (version) values ($1)`, [migration.version]);
    }
  });
}

/** IF NOT EXISTS does not save two sessions from each other: the loser gets a unique violation and looks again. */
async function createHistory(db: SqlDatabase, schema: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await db.query(`create schema if not exists ${schema}`);
      await db.query(
        `create table if not exists ${schema}.schema_migrations (version int primary key, applied_at timestamptz not null default now())`,
      );
      return;
    } catch (error) {
      const lostRace = [UNIQUE_VIOLATION, DUPLICATE_SCHEMA, DUPLICATE_TABLE, DUPLICATE_OBJECT].includes(sqlState(error) ?? "");
      if (!lostRace || attempt === 5) throw error;
    }
  }
}
