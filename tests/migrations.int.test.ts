import { randomUUID } from "node:crypto";
import { describe, expect, onTestFinished, test } from "vitest";
import { MIGRATIONS as gatewayMigrations, openSqlKeyStore } from "../gateway/identity/key-store-sql.js";
import { migrate } from "../runtime/sql/migrate.js";
import { openPostgres } from "../runtime/sql/postgres.js";
import { MIGRATIONS as checkpointMigrations } from "../services/checkpoint/sql/schema.js";
import { migrations as ragMigrations } from "../services/rag/store/schema.js";
import { describePostgres } from "./servers/postgres.js";
import { type ObservedMesh, startObservedMesh } from "./support/observed-mesh.js";

const HISTORIES = { checkpoint: checkpointMigrations, gateway: gatewayMigrations, rag: ragMigrations };
type Schema = keyof typeof HISTORIES;
const SCHEMAS = Object.keys(HISTORIES) as Schema[];
/** A table of each history that a next release could add to. */
const GROWING = { checkpoint: "checkpoint.threads", gateway: "gateway.api_keys", rag: "rag.documents" };

/** What a replica of the release before could not live with. */
const BREAKING = [
  /\bdrop\s+(table|column|schema|type|view)\b/i,
  /\brename\s+(to|column)\b/i,
  /\balter\s+column\s+\S+\s+(set\s+data\s+)?type\b/i,
  /\bset\s+not\s+null\b/i,
  // A new column that must be filled in, by writers that do not know it.
  /\badd\s+column\s+(?!.*\bdefault\b)[^,;]*\bnot\s+null\b/i,
];

describe.each(Object.entries(HISTORIES))("the migrations of %s", (_name, history) => {
  test("are numbered without gaps, and after the first only add", () => {
    expect(history.map(({ version }) => version)).toEqual(history.map((_, index) => index + 1));
    for (const { version, statements, oldestProgram = version - 1 } of history.slice(1)) {
      // A replica of the release before may start again beside this one's.
      expect(oldestProgram).toBeLessThan(version);
      for (const statement of statements) {
        for (const breaking of BREAKING) expect(statement, `version ${version}`).not.toMatch(breaking);
      }
    }
  });
});

test.each([
  ["drop", "alter table rag.jobs drop column state"],
  ["rename", "alter table rag.jobs rename column state to status"],
  ["another type", "alter table rag.jobs alter column state type int"],
  ["a required column", "alter table rag.jobs add column owner text not null"],
])("%s is noticed", (_what, statement) => {
  expect(BREAKING.some((breaking) => breaking.test(statement))).toBe(true);
});

describePostgres("a release whose schema is one version ahead", (postgres) => {
  test("is installed while replicas of this release work: they go on beside it, and may start again", async () => {
    const url = await emptyDatabase(postgres().url);
    const old = await open(url);
    onTestFinished(() => old.stop());
    const told = await talk(old, "before");

    const db = openPostgres({ url });
    onTestFinished(() => db.close());
    const next = (schema: Schema, versions: number) => [
      ...HISTORIES[schema],
      // What the rules above allow: a new table, a new column with a default, a new index.
      {
        version: HISTORIES[schema].length + 1,
        statements: [
          `create table ${schema}.next (id int)`,
          `alter table ${GROWING[schema]} add column next_release text not null default 'x'`,
          `create index next_release on ${GROWING[schema]} (next_release)`,
        ],
      },
      ...Array.from({ length: versions - 1 }, (_, index) => ({ version: HISTORIES[schema].length + 2 + index, statements: [] })),
    ];
    for (const schema of SCHEMAS) await migrate(db, schema, next(schema, 1));
    // What the next release wrote.
    for (const table of [GROWING.checkpoint, GROWING.rag]) await db.query(`update ${table} set next_release = 'y'`);

    expect(await talk(old, "after", told)).toBe(told);
    const restarted = await open(url);
    onTestFinished(() => restarted.stop());
    expect(await talk(restarted, "restarted", told)).toBe(told);
    await talk(old, "still", told);
    await openSqlKeyStore(db);
    // It was kept, and the new rows have their default.
    expect(await db.query("select next_release from checkpoint.threads where thread_id = $1", [told])).toEqual([{ next_release: "y" }]);
    expect(await db.query("select next_release, count(*)::int as documents from rag.documents group by 1 order by 1")).toEqual([
      { next_release: "x", documents: 3 },
      { next_release: "y", documents: 1 },
    ]);

    // One that is two releases behind says what to do, and touches nothing.
    for (const schema of SCHEMAS) await migrate(db, schema, next(schema, 2));
    await expect(open(url)).rejects.toThrow("start a newer release");
    await expect(openSqlKeyStore(db)).rejects.toThrow("start a newer release");
  }, 120_000);
});

/** A database of its own, on the same server: what is done to its schemas cannot be undone. */
async function emptyDatabase(server: string): Promise<string> {
  const name = `release_${randomUUID().replaceAll("-", "")}`;
  const admin = openPostgres({ url: server });
  await admin.query(`create database ${name}`).finally(() => admin.close());
  return Object.assign(new URL(server), { pathname: `/${name}` }).href;
}

function open(url: string): Promise<ObservedMesh> {
  return startObservedMesh({ RAGENTS_RAG_URL: url, RAGENTS_CHECKPOINT_URL: url });
}

/** Ingests a document and asks about it; resolves to the thread. */
async function talk(mesh: ObservedMesh, animal: string, thread?: string): Promise<string> {
  const post = async (path: string, body: unknown) => {
    const response = await fetch(mesh.url + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    expect(response.status, await response.clone().text()).toBe(200);
    return (await response.json()) as { id: string; response: string; thread_id: string };
  };
  const { id } = await post("/v1/collections/default/documents:ingest", { documents: [{ id: animal, text: `The ${animal} otter eats eels.` }] });
  await expect.poll(async () => (await (await fetch(`${mesh.url}/v1/jobs/${id}`)).text()).includes('"SUCCEEDED"'), { timeout: 20_000 }).toBe(true);
  const answer = await post("/query", { query: `What does the ${animal} otter eat?`, ...(thread !== undefined && { thread_id: thread }) });
  expect(answer.response).toContain("eels");
  return answer.thread_id;
}
