import { afterAll } from "vitest";
import { openPglite } from "../../../runtime/sql/pglite.js";
import { describeRagStore } from "./rag-store.suite.js";
import { describeReembeddingStore } from "./reembedding.suite.js";
import { openSqlStore } from "./sql-store.js";

const db = openPglite();
afterAll(async () => (await db).close());

describeRagStore("the rag store on the embedded PostgreSQL", async () => openSqlStore(await db));
describeReembeddingStore("re-embedding in the embedded PostgreSQL", async () => openSqlStore(await db));
