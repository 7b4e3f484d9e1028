import pg from "pg";
import { expect, test } from "vitest";
import { describePostgres } from "./postgres.js";

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client.query(text).then(
    ({ rows }) => rows,
    (error: unknown) => Promise.reject(error),
  ).finally(() => client.end());
}

describePostgres(
  "a PostgreSQL of the test's own",
  (server) => {
    test("keeps what was committed when it is killed and started again", async () => {
      await query(server().url, "create table kept (id int)");
      await query(server().url, "insert into kept values (1)");
      await server().kill();
      await expect(query(server().url, "select 1")).rejects.toThrow();
      await server().restart();
      expect(await query(server().url, "select id from kept")).toEqual([{ id: 1 }]);
    });
  },
  { own: true },
);
