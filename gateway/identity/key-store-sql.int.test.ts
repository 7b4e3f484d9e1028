import { openPostgres } from "../../runtime/sql/postgres.js";
import { describePostgres } from "../../tests/servers/postgres.js";
import { describeKeyStore } from "./key-store.suite.js";

describePostgres("PostgreSQL", (server) => {
  describeKeyStore("API keys on PostgreSQL", async () => openPostgres({ url: server().url }));
});
