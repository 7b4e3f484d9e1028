import { afterAll } from "vitest";
import type { SqlDatabase } from "../../../runtime/sql/database.js";
import { openPostgres } from "../../../runtime/sql/postgres.js";
import { describePostgres } from "../../../tests/servers/postgres.js";
import { describeRagStore } from "./rag-store.suite.js";
import { openSqlStore } from "./sql-store.js";

describePostgres("PostgreSQL", (server) => {
  const opened: SqlDatabase[] = [];
  afterAll(async () => {
    for (const db of opened) await db.close();
  });

  describeRagStore("the rag store on a server", async () => {
    const db = openPostgres({ url: server().url });
    opened.push(db);
    return openSqlStore(db);
  });
});
