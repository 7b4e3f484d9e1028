import { afterAll } from "vitest";
import type { SqlDatabase } from "../../../runtime/sql/database.js";
import { openPostgres } from "../../../runtime/sql/postgres.js";
import { describePostgres } from "../../../tests/servers/postgres.js";
import { describeRagStore } from "./rag-store.suite.js";
import { describeReembeddingStore } from "./reembedding.suite.js";
import { openSqlStore } from "./sql-store.js";

describePostgres("PostgreSQL", (server) => {
  const opened: SqlDatabase[] = [];
  afterAll(async () => {
    for (const db of opened) await db.close();
  });

  async function open() {
    const db = openPostgres({ url: server().url });
    opened.push(db);
    return openSqlStore(db);
  }

  describeRagStore("the rag store on a server", open);
  describeReembeddingStore("re-embedding on a server", open);
});
