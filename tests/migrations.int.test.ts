import { describe, expect, onTestFinished, test } from "vitest";
import { migrate } from "../runtime/sql/migrate.js";
import { openPostgres } from "../runtime/sql/postgres.js";
import { MIGRATIONS as checkpointMigrations } from "../services/checkpoint/sql/schema.js";
import { migrations as ragMigrations } from "../services/rag/store/schema.js";
import { describePostgres } from "./servers/postgres.js";
import { type ObservedMesh, startObservedMesh } from "./support/observed-mesh.js";

const HISTORIES = { checkpoint: checkpointMigrations, rag: ragMigrations };

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
    for (const { version, statements } of history.slice(1)) {
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
  test("is installed while replicas of this release work, and they go on beside it", async () => {
    const url = postgres().url;
    const old = await open(url);
    onTestFinished(() => old.stop());
    const told = await talk(old, "before");

    const db = openPostgres({ url });
    onTestFinished(() => db.close());
    for (const [schema, history] of Object.entries(HISTORIES)) {
      // What the rules above allow: a new table, a new column with a default, a new index.
      const table = schema === "rag" ? "rag.jobs" : "checkpoint.threads";
      const statements = [`create table ${schema}.next (id int)`, `alter table ${table} add column next_release text not null default 'x'`, `create index next_release on ${table} (next_release)`];
      await migrate(db, schema, [...history, { version: history.length + 1, statements }]);
    }

    const again = await talk(old, "after", told);
    expect(again).toBe(told);
    // One that is only now started says what to do, and touches nothing.
    await expect(open(url)).rejects.toThrow("start a newer release");
    await talk(old, "still", told);
  }, 60_000);
});

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
