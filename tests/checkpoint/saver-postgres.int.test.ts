import { openPostgres } from "../../runtime/sql/postgres.js";
import { describePostgres } from "../servers/postgres.js";
import { sqlBackend } from "./backend.js";
import { describeSaver } from "./saver.suite.js";

describePostgres("PostgreSQL", (server) => {
  describeSaver("the saver on PostgreSQL", () => sqlBackend(openPostgres({ url: server().url })));
});
