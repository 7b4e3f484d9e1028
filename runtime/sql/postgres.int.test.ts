import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { describePostgres } from "../../tests/servers/postgres.js";
import { describeSqlDatabase } from "./database.suite.js";
import { openPostgres } from "./postgres.js";

describePostgres("PostgreSQL", (server) => {
  describeSqlDatabase("SQL on PostgreSQL", async () => openPostgres({ url: server().url }));

  test("waits for a free connection no longer than it was told, and shows how busy it is", async () => {
    const registry = new Registry();
    const db = openPostgres({ url: server().url, maxConnections: 1, connectTimeoutMs: 100, metrics: { registry, prefix: "test" } });
    let release = () => {};
    const held = db.transaction(() => new Promise<void>((resolve) => (release = resolve)));
    const refused = expect(db.ping()).rejects.toThrow(/timeout/);
    const shown = await registry.metrics();
    expect(shown).toContain('test_postgres_connections{state="busy"} 1');
    expect(shown).toContain("test_postgres_waiting 1");
    await refused;
    release();
    await held;
    await db.ping();
    await db.close();
  });
});

describePostgres(
  "PostgreSQL that crashes",
  (server) => {
    test("is reached again by the same handle once it is back", async () => {
      const idle: Error[] = [];
      const db = openPostgres({ url: server().url, onIdleError: (error) => idle.push(error) });
      await db.ping();
      const interrupted = db.transaction(async (tx) => {
        await tx.query("select 1");
        await server().kill();
        await tx.query("select 1");
      });
      await expect(interrupted).rejects.toThrow();
      await expect(db.ping()).rejects.toThrow();
      await server().restart();
      await db.ping();
      await db.close();
    });
  },
  { own: true },
);
