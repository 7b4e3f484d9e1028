import { openPostgres } from "../../runtime/sql/postgres.js";
import { describePostgres } from "../servers/postgres.js";
import { openSqlCheckpointStore } from "../../services/checkpoint/store-sql.js";
import { clearSqlStore } from "../../services/checkpoint/store-sql.suite.js";
import { validateSaver } from "./validation.suite.js";

describePostgres("PostgreSQL", (server) => {
  validateSaver("GrpcCheckpointSaver on PostgreSQL", async () => {
    const db = openPostgres({ url: server().url });
    return { store: await openSqlCheckpointStore(db), clear: () => clearSqlStore(db) };
  });
});
