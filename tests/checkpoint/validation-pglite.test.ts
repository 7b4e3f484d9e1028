import { openPglite } from "../../runtime/sql/pglite.js";
import { openSqlCheckpointStore } from "../../services/checkpoint/store-sql.js";
import { clearSqlStore } from "../../services/checkpoint/store-sql.suite.js";
import { validateSaver } from "./validation.suite.js";

validateSaver("GrpcCheckpointSaver on PGlite", async () => {
  const db = await openPglite();
  return { store: await openSqlCheckpointStore(db), clear: () => clearSqlStore(db) };
});
