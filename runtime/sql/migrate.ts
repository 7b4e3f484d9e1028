import { type SqlDatabase, sqlState, UNIQUE_VIOLATION } from "./database.js";

/** One step of a schema's history: its statements, never changed once released. */
export interface Migration {
  /** 1, 2, 3 ... without gaps. */
  readonly version: number;
  readonly statements: readonly string[];
  /**
   * The oldest version whose program can work on this one's schema. By default the version before: while replicas are replaced,
   * those of the release before go on, and may start again. A step that they could not live with names its own version.
   */
  readonly oldestProgram?: number;
}

const DUPLICATE_SCHEMA = "42P06";
const DUPLICATE_TABLE = "42P07";
/** Of the row type that comes with a table. */
const DUPLICATE_OBJECT = "42710";

/**
 * Brings `schema` to the newest version; forward only. Two replicas may do it at once: the second waits and finds nothing left to
 * do. A schema that is newer than this program is left as it is, where its newer steps allow that; else this rejects.
 */
export async function migrate(db: SqlDatabase, schema: string, migrations: readonly Migration[]): Promise<void> {
  await createHistory(db, schema);
  await db.transaction(async (tx) => {
    await tx.query(`lock table ${schema}.schema_migrations in access exclusive mode`);
    await tx.query(`alter table ${schema}.schema_migrations add column if not exists oldest_program int`);
    const [row] = await tx.query<{ version: number | null; oldest: number | null }>(
      `select max(version) as version, max(coalesce(oldest_program, version)) as oldest from ${schema}.schema_migrations`,
    );
    const current = row?.version ?? 0;
    const newest = migrations.at(-1)?.version ?? 0;
    if (current > newest && row!.oldest! > newest) {
      throw new Error(
        `The database's schema "${schema}" is at version ${current} and needs a program of version ${row!.oldest} at least, this one knows ${newest}: start a newer release.`,
      );
    }
    for (const { version, statements, oldestProgram = version - 1 } of migrations.filter(({ version }) => version > current)) {
      for (const statement of statements) await tx.query(statement);
      await tx.query(`insert into ${schema}.schema_migrations (version, oldest_program) values ($1, $2)`, [version, oldestProgram]);
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
