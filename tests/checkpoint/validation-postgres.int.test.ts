import { openPostgres } from "../../runtime/sql/postgres.js";
import { describePostgres } from "../servers/postgres.js";
import { openClearableStore } from "./sql-stores.js";
import { validateSaver } from "./validation.suite.js";

describePostgres("PostgreSQL", (server) => {
  validateSaver("GrpcCheckpointSaver on PostgreSQL", () => openClearableStore(openPostgres({ url: server().url })));
});
