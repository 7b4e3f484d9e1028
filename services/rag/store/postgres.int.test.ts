import { Code } from "@connectrpc/connect";
import { afterAll, expect, test } from "vitest";
import { reasonOf, retryAfterMsOf } from "../../../runtime/errors.js";
import type { SqlDatabase } from "../../../runtime/sql/database.js";
import { openPostgres } from "../../../runtime/sql/postgres.js";
import { failureOf } from "../../../tests/failure-of.js";
import { describePostgres } from "../../../tests/servers/postgres.js";
import { reachableStore } from "../reachable-store.js";
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

describePostgres(
  "PostgreSQL that crashes",
  (server) => {
    test("is UNAVAILABLE for who asks meanwhile, and answers again once it is back", async () => {
      const db = openPostgres({ url: server().url, onIdleError: () => {} });
      const store = reachableStore(await openSqlStore(db));
      const ask = () => store.getCollection({ tenant: "acme", id: "default" });
      await ask();
      await server().kill();
      const error = await failureOf(ask());
      expect([error.code, reasonOf(error), retryAfterMsOf(error)]).toEqual([Code.Unavailable, "DEPENDENCY_UNAVAILABLE", 1_000]);
      await server().restart();
      await ask();
      await db.close();
    });
  },
  { own: true },
);
