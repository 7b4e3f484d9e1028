import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { describeSqlDatabase } from "./database.suite.js";
import { openPglite } from "./pglite.js";

describeSqlDatabase("SQL on PGlite", () => openPglite());

test("a folder keeps its rows when it is opened again", async () => {
  const parent = await mkdtemp(join(tmpdir(), "ragents-pglite-"));
  const folder = join(parent, "not", "made", "yet");
  try {
    const first = await openPglite(folder);
    await first.query("create table kept (id int)");
    await first.query("insert into kept values (1)");
    // What was asked for before the end is done.
    const last = first.query("insert into kept values (2)");
    await Promise.all([last, first.close()]);
    await first.close();
    const second = await openPglite(folder);
    expect(await second.query("select id from kept")).toEqual([{ id: 1 }, { id: 2 }]);
    await second.close();
  } finally {
    await rm(parent, { recursive: true });
  }
});
