import { openPglite } from "../../runtime/sql/pglite.js";
import { clearSqlStore } from "./store-sql.suite.js";
import { describeCheckpointStore, SUITE_TTL_MS } from "./store.suite.js";
import { openSqlCheckpointStore } from "./store-sql.js";

describeCheckpointStore("the checkpoint store on PGlite", async () => {
  const db = await openPglite();
  return { store: await openSqlCheckpointStore(db, { ttlMs: SUITE_TTL_MS }), clear: () => clearSqlStore(db) };
});
