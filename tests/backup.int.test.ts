import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import pg from "pg";
import { describe, expect, onTestFinished, test } from "vitest";
import { packageRoot } from "../runtime/package-root.js";
import { findProgram } from "./servers/find-program.js";
import { describePostgres, postgresProgram } from "./servers/postgres.js";
import { redisFound, startRedis } from "./servers/redis.js";
import { type ObservedMesh, startObservedMesh } from "./support/observed-mesh.js";

const scripts = join(packageRoot, "k8s", "components", "backup");
const possible = (await redisFound({ own: true })) && (await findProgram("redis-cli")) !== undefined && (await postgresProgram("pg_dump")) !== undefined;

describePostgres("backup.sh and restore.sh", (postgres) => {
  describe.skipIf(!possible)("on a mesh's stores", () => {
    test("ingest, talk, back up, destroy, restore, ask: documents, conversations and limits are there again", async () => {
      const backups = await mkdtemp(join(tmpdir(), "ragents-backup-"));
      onTestFinished(() => rm(backups, { recursive: true }));
      const first = await startSecretRedis();
      onTestFinished(() => first.stop());
      const script = shell({ BACKUP_DIR: backups, DATABASE_URL: postgres().url, REDIS_HOST: "127.0.0.1", REDIS_PORT: String(first.port), REDISCLI_AUTH: "secret" });

      let mesh = await open(postgres().url, first.port);
      await ingest(mesh);
      const told = await ask(mesh, "What does the otter eat?");
      expect(told.response).toContain("eels");
      const limits = new Redis({ port: first.port, password: "secret" });
      await limits.set("ragents:ratelimit:{a key}", Buffer.from([0, 1, 2, 255]), "EX", 3_600);
      limits.disconnect();
      await script("backup.sh", "redis");
      await script("backup.sh", "postgres");
      await mesh.stop();

      const database = new pg.Client(postgres().url);
      await database.connect();
      await database.query("drop schema rag cascade; drop schema checkpoint cascade");
      await database.end();
      await first.kill();

      const second = await startSecretRedis();
      onTestFinished(() => second.stop());
      const [folder] = await readdir(backups);
      const restore = shell({ DATABASE_URL: postgres().url, REDIS_HOST: "127.0.0.1", REDIS_PORT: String(second.port), REDISCLI_AUTH: "secret" });
      await restore("restore.sh", "redis", join(backups, folder!));
      await restore("restore.sh", "postgres", join(backups, folder!));

      mesh = await open(postgres().url, second.port);
      onTestFinished(() => mesh.stop());
      const again = await ask(mesh, "And where does it live?", told.thread_id);
      expect(again.response).toContain("holt");
      const history = await (await fetch(`${mesh.url}/v1/threads/${told.thread_id}/messages`)).text();
      expect(history).toContain("What does the otter eat?");
      const restored = new Redis({ port: second.port, password: "secret" });
      expect(await restored.getBuffer("ragents:ratelimit:{a key}")).toEqual(Buffer.from([0, 1, 2, 255]));
      expect(await restored.ttl("ragents:ratelimit:{a key}")).toBeGreaterThan(3_500);
      restored.disconnect();
    }, 60_000);

    test("a backup that fails leaves nothing that looks like one, and an old one goes when there are enough", async () => {
      const backups = await mkdtemp(join(tmpdir(), "ragents-backup-"));
      onTestFinished(() => rm(backups, { recursive: true }));
      const good = shell({ BACKUP_DIR: backups, DATABASE_URL: postgres().url, BACKUP_KEEP: "1" });
      const bad = shell({ BACKUP_DIR: backups, DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" });
      await expect(bad("backup.sh", "postgres")).rejects.toThrow();
      expect((await readdir(backups, { recursive: true })).filter((path) => /complete|\.dump$/.test(path))).toEqual([]);
      await good("backup.sh", "postgres");
      expect((await readdir(backups, { recursive: true })).filter((path) => path.endsWith("postgres.dump"))).toHaveLength(1);
      expect(await readdir(backups)).toHaveLength(1);
    });
  });
});

/** A Redis that wants a password, as that of the manifests does. */
async function startSecretRedis() {
  const redis = await startRedis({ own: true });
  const client = new Redis({ port: redis.port });
  await client.config("SET", "requirepass", "secret");
  client.disconnect();
  return redis;
}

/** Runs a script of the component with these variables and the tools of the test's servers. */
function shell(variables: Record<string, string>) {
  return async (script: string, ...args: string[]) => {
    const tools = dirname((await postgresProgram("pg_dump"))!);
    const env = { PATH: [tools, process.env["PATH"]].join(delimiter), ...variables };
    await promisify(execFile)("sh", [join(scripts, script), ...args], { env });
  };
}

function open(database: string, redisPort: number): Promise<ObservedMesh> {
  return startObservedMesh({ RAGENTS_RAG_URL: database, RAGENTS_CHECKPOINT_URL: database, RAGENTS_RATELIMIT_URL: `redis://:secret@127.0.0.1:${redisPort}` });
}

async function post(url: string, body: unknown) {
  const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as { id: string; response: string; thread_id: string };
}

const ask = (mesh: ObservedMesh, query: string, thread_id?: string) => post(`${mesh.url}/query`, { query, thread_id });

async function ingest(mesh: ObservedMesh): Promise<void> {
  const { id } = await post(`${mesh.url}/v1/collections/default/documents:ingest`, {
    documents: [{ id: "otter", text: "The otter eats eels. The otter lives in a holt by the river." }],
  });
  for (let i = 0; i < 300; i += 1) {
    if ((await (await fetch(`${mesh.url}/v1/jobs/${id}`)).text()).includes('"SUCCEEDED"')) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("the document is not there after 30 s");
}
