import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type SqlDatabase, sqlState, UNIQUE_VIOLATION } from "./database.js";
import { migrate } from "./migrate.js";

/** What every SqlDatabase promises, run against each engine. */
export function describeSqlDatabase(name: string, open: () => Promise<SqlDatabase>): void {
  describe(name, () => {
    let db: SqlDatabase;
    beforeAll(async () => {
      db = await open();
    });
    afterAll(() => db.close());

    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);

    test.each([
      { type: "bytea", give: bytes, want: Buffer.from(bytes) },
      { type: "bytea", give: bytes.subarray(3, 9), want: Buffer.from([3, 4, 5, 6, 7, 8]) },
      { type: "bytea", give: Buffer.alloc(0), want: Buffer.alloc(0) },
      { type: "bytea[]", give: [bytes, Buffer.alloc(0), Buffer.from("a,\"b\\")], want: [Buffer.from(bytes), Buffer.alloc(0), Buffer.from("a,\"b\\")] },
      { type: "bytea[]", give: [], want: [] },
      { type: "bytea[]", give: [null, Buffer.from([1])], want: [null, Buffer.from([1])] },
      { type: "text", give: "naïve 日本 🙂 '\"\\\n", want: "naïve 日本 🙂 '\"\\\n" },
      { type: "text", give: null, want: null },
      { type: "text[]", give: ["", "null", "NULL", "a,b", "{c}", "d\"e", "f\\g", " h ", "日本"], want: ["", "null", "NULL", "a,b", "{c}", "d\"e", "f\\g", " h ", "日本"] },
      { type: "text[]", give: ["a", null], want: ["a", null] },
      { type: "int8", give: Number.MAX_SAFE_INTEGER, want: Number.MAX_SAFE_INTEGER },
      { type: "int8[]", give: [1, -2, 2 ** 40], want: [1, -2, 2 ** 40] },
      { type: "int8[]", give: [], want: [] },
      { type: "int4[]", give: [1, -2], want: [1, -2] },
      { type: "float8", give: 0.1, want: 0.1 },
      { type: "float8[]", give: [0.5, 1e300], want: [0.5, 1e300] },
      { type: "boolean", give: true, want: true },
      { type: "boolean[]", give: [true, false], want: [true, false] },
      { type: "jsonb", give: JSON.stringify({ a: [1, "ü"], b: null }), want: { a: [1, "ü"], b: null } },
      { type: "jsonb", give: "null", want: null },
      { type: "jsonb", give: JSON.stringify("text"), want: "text" },
      { type: "jsonb[]", give: [JSON.stringify({ a: "x,\"y" }), "1"], want: [{ a: "x,\"y" }, 1] },
      { type: "timestamptz", give: new Date("2026-01-02T03:04:05.678Z"), want: new Date("2026-01-02T03:04:05.678Z") },
      { type: "timestamptz[]", give: [new Date(0)], want: [new Date(0)] },
    ])("carries $type there and back: $give", async ({ type, give, want }) => {
      const [row] = await db.query<{ value: unknown }>(`select $1::${type} as value`, [give]);
      expect(row?.value).toEqual(want);
    });

    test("gives bytea as Buffer, also inside arrays", async () => {
      const [row] = await db.query<{ one: unknown; many: unknown[] }>("select $1::bytea as one, $2::bytea[] as many", [bytes, [bytes]]);
      expect(Buffer.isBuffer(row?.one)).toBe(true);
      expect(Buffer.isBuffer(row?.many[0])).toBe(true);
    });

    test("runs a prepared statement again and again, also after it was refused and in transactions", async () => {
      const half = { name: "suite_half", text: "select 12 / $1::int as value" };
      expect(await db.query(half, [3])).toEqual([{ value: 4 }]);
      await expect(db.query(half, [0])).rejects.toMatchObject({ code: "22012" });
      expect(await Promise.all([1, 2, 4].map((n) => db.query(half, [n])))).toEqual([[{ value: 12 }], [{ value: 6 }], [{ value: 3 }]]);
      await db.transaction(async (tx) => expect(await tx.query(half, [6])).toEqual([{ value: 2 }]));
      await db.query("create function suite_one() returns int language sql as 'select 1'");
      const one = { name: "suite_one", text: "select suite_one() as value" };
      expect(await db.query(one, [])).toEqual([{ value: 1 }]);
      await db.query("create or replace function suite_one() returns int language sql as 'select 2'");
      expect(await db.query(one, [])).toEqual([{ value: 2 }]);
    });

    test("counts as numbers", async () => {
      expect(await db.query("select count(*) as n from generate_series(1, 5)")).toEqual([{ n: 5 }]);
    });

    test("unnests arrays side by side", async () => {
      const rows = await db.query(
        "select * from unnest($1::text[], $2::int8[], $3::bytea[]) with ordinality as t (name, size, data, position) order by position",
        [["a", "b"], [1, 2], [Buffer.from([1]), Buffer.from([2, 3])]],
      );
      expect(rows).toEqual([
        { name: "a", size: 1, data: Buffer.from([1]), position: 1 },
        { name: "b", size: 2, data: Buffer.from([2, 3]), position: 2 },
      ]);
    });

    test("carries 16 MB in one value", async () => {
      const large = Buffer.alloc(16 * 1024 * 1024, 7);
      const [row] = await db.query<{ value: Buffer }>("select $1::bytea as value", [large]);
      expect(row?.value.equals(large)).toBe(true);
    });

    test("commits a transaction that resolves and rolls back one that rejects", async () => {
      await db.query("create table moves (id int primary key)");
      const answer = await db.transaction(async (tx) => {
        await tx.query("insert into moves values (1)");
        return "done";
      });
      expect(answer).toBe("done");
      const failing = db.transaction(async (tx) => {
        await tx.query("insert into moves values (2)");
        throw new Error("changed my mind");
      });
      await expect(failing).rejects.toThrow("changed my mind");
      expect(await db.query("select id from moves")).toEqual([{ id: 1 }]);
    });

    test("goes on after a statement failed, and says why by SQLSTATE", async () => {
      await db.query("create table once (id int primary key)");
      await db.query("insert into once values (1)");
      const states = async (work: Promise<unknown>) => work.then(() => undefined, sqlState);
      expect(await states(db.query("insert into once values (1)"))).toBe(UNIQUE_VIOLATION);
      expect(await states(db.transaction((tx) => tx.query("insert into once values (1)")))).toBe(UNIQUE_VIOLATION);
      expect(await states(db.query("select * from nowhere"))).toBe("42P01");
      expect(await db.query("select id from once")).toEqual([{ id: 1 }]);
    });

    test("keeps statements apart that were asked for at the same time, from each other and from a transaction", async () => {
      await db.query("create table apart (id int primary key)");
      const insert = { name: "suite_apart", text: "insert into apart values ($1)" };
      const outcomes = await Promise.allSettled([
        ...[1, 2, 1, 3].map((id) => db.query(insert, [id])),
        db.transaction(async (tx) => {
          await tx.query(insert, [4]);
          throw new Error("changed my mind");
        }),
        db.query(insert, [5]),
      ]);
      const [one, two, oneAgain, ...others] = outcomes.map(({ status }) => status);
      // Which of the same two comes first is the engine's affair where they have connections of their own.
      expect([one, oneAgain].sort()).toEqual(["fulfilled", "rejected"]);
      expect([two, ...others]).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
      expect(await db.query("select id from apart order by id")).toEqual([1, 2, 3, 5].map((id) => ({ id })));
    });

    test("runs transactions that were asked for at the same time", async () => {
      await db.query("create table counter (n int)");
      await db.query("insert into counter values (0)");
      const add = () => db.transaction((tx) => tx.query("update counter set n = n + 1"));
      await Promise.all(Array.from({ length: 20 }, add));
      expect(await db.query("select n from counter")).toEqual([{ n: 20 }]);
    });

    test("answers a ping", async () => {
      await db.ping();
    });

    describe("migrations", () => {
      const first = { version: 1, statements: ["create table grown.things (id int primary key)"] };
      const second = { version: 2, statements: ["alter table grown.things add column name text", "insert into grown.things values (1, 'a')"] };

      test("run once, in order, also when many replicas start at once", async () => {
        await Promise.all(Array.from({ length: 4 }, () => migrate(db, "grown", [first])));
        await Promise.all(Array.from({ length: 4 }, () => migrate(db, "grown", [first, second])));
        expect(await db.query("select * from grown.things")).toEqual([{ id: 1, name: "a" }]);
        expect(await db.query("select version from grown.schema_migrations order by version")).toEqual([{ version: 1 }, { version: 2 }]);
      });

      test("leave nothing behind of a step that fails", async () => {
        const broken = { version: 3, statements: ["create table grown.half (id int)", "select nonsense"] };
        await expect(migrate(db, "grown", [first, second, broken])).rejects.toThrow();
        expect(await db.query("select to_regclass('grown.half') as half")).toEqual([{ half: null }]);
      });

      test("let a program work on a database that is one version ahead, and leave it as it is", async () => {
        await migrate(db, "grown", [first]);
        expect(await db.query("select * from grown.things")).toEqual([{ id: 1, name: "a" }]);
      });

      test("refuse a database that is two versions ahead", async () => {
        const third = { version: 3, statements: ["alter table grown.things add column size int"] };
        await migrate(db, "grown", [first, second, third]);
        await migrate(db, "grown", [first, second]);
        await expect(migrate(db, "grown", [first])).rejects.toThrow('"grown" is at version 3 and needs a program of version 2 at least, this one knows 1: start a newer release');
      });

      test("refuse a database with a step that says that older programs cannot live with it", async () => {
        const breaking = { version: 2, statements: ["alter table broken.things drop column name"], oldestProgram: 2 };
        const before = { version: 1, statements: ["create table broken.things (id int, name text)"] };
        await migrate(db, "broken", [before, breaking]);
        await expect(migrate(db, "broken", [before])).rejects.toThrow("start a newer release");
      });

      test("take over a history that was begun before it told which programs can work on a version", async () => {
        await migrate(db, "grown_before", [{ version: 1, statements: [] }]);
        await db.query("alter table grown_before.schema_migrations drop column oldest_program");
        await db.query("insert into grown_before.schema_migrations (version) values (2)");
        await expect(migrate(db, "grown_before", [{ version: 1, statements: [] }])).rejects.toThrow("start a newer release");
        await migrate(db, "grown_before", [{ version: 1, statements: [] }, { version: 2, statements: [] }, { version: 3, statements: [] }]);
        await migrate(db, "grown_before", [{ version: 1, statements: [] }, { version: 2, statements: [] }]);
      });
    });
  });
}
