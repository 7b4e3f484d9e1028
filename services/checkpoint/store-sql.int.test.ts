import { openPostgres } from "../../runtime/sql/postgres.js";
import { describePostgres } from "../../tests/servers/postgres.js";
import { clearSqlStore } from "./store-sql.suite.js";
import { describeCheckpointStore, SUITE_TTL_MS } from "./store.suite.js";
import { openSqlCheckpointStore } from "./store-sql.js";

describePostgres("PostgreSQL", (server) => {
  describeCheckpointStore("the checkpoint store on PostgreSQL", async () => {
    const db = openPostgres({ url: server().url });
    return { store: await openSqlCheckpointStore(db, { ttlMs: SUITE_TTL_MS }), clear: () => clearSqlStore(db) };
  });
});
