import { PGlite } from "@electric-sql/pglite";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { evaluateFilter, FilterError, filterToSql, MAX_FILTER_CONDITIONS, MAX_FILTER_DEPTH, MAX_FILTER_VALUES, parseFilter } from "./filters.js";

const document = {
  kind: "valve",
  pressure: 8,
  tags: ["oil", "steel", 7],
  maker: { city: "Köln", "zip": null },
  tested: true,
  made: "2026-03-01",
  nested: [["deep"]],
  empty: [],
  nothing: null,
};

describe("a filter holds by what the metadata says", () => {
  test.each<[filter: object, holds: boolean]>([
    [{}, true],
    [{ kind: "valve" }, true],
    [{ kind: "pump" }, false],
    [{ kind: "valve", pressure: 8 }, true],
    [{ kind: "valve", pressure: 9 }, false],
    [{ kind: { $eq: "valve" } }, true],
    [{ kind: { $ne: "valve" } }, false],
    [{ kind: { $ne: "pump" } }, true],
    [{ kind: { $in: ["pump", "valve"] } }, true],
    [{ kind: { $in: [] } }, false],
    [{ kind: { $nin: ["pump"] } }, true],
    [{ kind: { $nin: [] } }, true],
    [{ pressure: { $gte: 8, $lt: 9 } }, true],
    [{ pressure: { $gt: 8 } }, false],
    [{ pressure: { $lte: 8 } }, true],
    [{ made: { $gte: "2026-01-01", $lt: "2026-04-01" } }, true],
    [{ kind: { $prefix: "val" } }, true],
    [{ kind: { $prefix: "" } }, true],
    [{ kind: { $prefix: "alv" } }, false],
    [{ tested: true }, true],
    [{ tested: false }, false],
    [{ "maker.city": "Köln" }, true],
    [{ "maker.zip": null }, true],
    [{ maker: { $exists: true } }, true],
    // Types are never mixed.
    [{ pressure: "8" }, false],
    [{ pressure: { $gt: "7" } }, false],
    [{ made: { $gt: 2025 } }, false],
    [{ tested: 1 }, false],
    [{ tested: { $gt: 0 } }, false],
    [{ pressure: { $prefix: "8" } }, false],
    [{ maker: "Köln" }, false],
    // What is not there.
    [{ missing: "x" }, false],
    [{ missing: null }, false],
    [{ missing: { $ne: "x" } }, true],
    [{ missing: { $nin: ["x"] } }, true],
    [{ missing: { $gt: 0 } }, false],
    [{ missing: { $lt: 0 } }, false],
    [{ missing: { $exists: true } }, false],
    [{ missing: { $exists: false } }, true],
    [{ "maker.country.code": "de" }, false],
    [{ "kind.x": { $exists: true } }, false],
    [{ nothing: null }, true],
    [{ nothing: { $exists: true } }, true],
    [{ toString: { $exists: true } }, false],
    // Lists hold what one of their elements does.
    [{ tags: "oil" }, true],
    [{ tags: "gas" }, false],
    [{ tags: { $ne: "oil" } }, false],
    [{ tags: { $gt: 6 } }, true],
    [{ tags: { $prefix: "st" } }, true],
    [{ tags: { $prefix: "oil", $gt: 6 } }, true],
    [{ "tags.0": "oil" }, false],
    [{ nested: "deep" }, false],
    [{ empty: null }, false],
    [{ empty: { $exists: true } }, true],
    // Logic.
    [{ $and: [{ kind: "valve" }, { pressure: 8 }] }, true],
    [{ $or: [{ kind: "pump" }, { pressure: 8 }] }, true],
    [{ $or: [{ kind: "pump" }, { pressure: 9 }] }, false],
    [{ $not: { kind: "pump" } }, true],
    [{ $not: { kind: "valve", pressure: 9 } }, true],
    [{ kind: "valve", $not: { $or: [{ pressure: 8 }, { pressure: 9 }] } }, false],
  ])("%j: %s", (filter, holds) => {
    expect(evaluateFilter(parseFilter(filter), document)).toBe(holds);
  });

  test("strings are in the order of code points", () => {
    expect(evaluateFilter(parseFilter({ sign: { $gt: "\uffff" } }), { sign: "😀" })).toBe(true);
  });
});

describe("a filter that cannot be understood is refused with its place and a remedy", () => {
  const nested = (depth: number): object => (depth === 0 ? { kind: "valve" } : { $not: nested(depth - 1) });

  test.each<[filter: unknown, path: string, message: RegExp]>([
    [null, "filters", /must be an object such as.*not null/],
    [[], "filters", /not a list/],
    ["kind", "filters", /not a string/],
    [{ kind: ["a", "b"] }, "filters.kind", /write {"\$in"/],
    [{ kind: { $eq: ["a"] } }, "filters.kind.$eq", /cannot equal a list/],
    [{ kind: { $eq: {} } }, "filters.kind.$eq", /not an object/],
    [{ maker: { city: "Köln" } }, "filters.maker", /write "maker\.city"/],
    [{ maker: { $eq: 1, city: 2 } }, "filters.maker", /write "maker\.city"/],
    [{ maker: {} }, "filters.maker", /must be a value or operators/],
    [{ kind: { $like: "x" } }, "filters.kind.$like", /is no operator; use \$eq/],
    [{ kind: { $not: { $eq: 1 } } }, "filters.kind.$not", /write {"\$not": {"kind"/],
    [{ $nor: [] }, "filters.$nor", /is no operator here/],
    [{ kind: { $in: "valve" } }, "filters.kind.$in", /must be a list of values, not a string/],
    [{ kind: { $in: [["x"]] } }, "filters.kind.$in[0]", /cannot equal a list/],
    [{ kind: { $in: Array(MAX_FILTER_VALUES + 1).fill(1) } }, "filters.kind.$in", /has 1001 values/],
    [{ kind: { $gt: null } }, "filters.kind.$gt", /a number or a string, not null/],
    [{ kind: { $gt: true } }, "filters.kind.$gt", /not a boolean/],
    [{ kind: { $gt: Infinity } }, "filters.kind.$gt", /not Infinity/],
    [{ kind: NaN }, "filters.kind", /not NaN/],
    [{ kind: { $prefix: 1 } }, "filters.kind.$prefix", /must be a string, not a number/],
    [{ kind: { $exists: "yes" } }, "filters.kind.$exists", /true or false, not a string/],
    [{ $and: [] }, "filters.$and", /at least one filter/],
    [{ $or: { kind: 1 } }, "filters.$or", /a list/],
    [{ $or: [{ kind: 1 }, 2] }, "filters.$or[1]", /must be an object/],
    [{ $not: [] }, "filters.$not", /must be an object/],
    [{ "a..b": 1 }, "filters.a..b", /is no field/],
    [{ "": 1 }, "filters.", /is no field/],
    [{ kind: "a\0" }, "filters.kind", /zero character/],
    [{ kind: "\ud800" }, "filters.kind", /surrogate/],
    [{ "a\0": 1 }, "filters.a\0", /zero character/],
    [{ $or: Array.from({ length: MAX_FILTER_CONDITIONS + 1 }, () => ({ kind: 1 })) }, "filters.$or[100].kind", /at most 100/],
    [nested(MAX_FILTER_DEPTH + 1), `filters${".$not".repeat(MAX_FILTER_DEPTH + 1)}`, /more than 8 deep/],
  ])("%j", (filter, path, message) => {
    let error: unknown;
    try {
      parseFilter(filter);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(FilterError);
    expect(error).toMatchObject({ kind: "INVALID_FILTER", path, message: expect.stringMatching(message) });
  });

  test("the limits themselves are allowed", () => {
    parseFilter(nested(MAX_FILTER_DEPTH));
    parseFilter({ $or: Array.from({ length: MAX_FILTER_CONDITIONS }, () => ({ kind: 1 })) });
    parseFilter({ kind: { $in: Array(MAX_FILTER_VALUES).fill(1) } });
  });
});

describe("in PostgreSQL", () => {
  let database: PGlite;
  beforeAll(async () => {
    database = await PGlite.create();
    await database.exec("CREATE TABLE documents (id int, metadata jsonb NOT NULL)");
  });
  afterAll(() => database.close());

  const matches = async (filter: object) => {
    const params: unknown[] = [];
    const condition = filterToSql(parseFilter(filter), "d.metadata", params);
    const { rows } = await database.query<{ id: number; holds: boolean }>(`SELECT id, ${condition} AS holds FROM documents d ORDER BY id`, params);
    return rows.map(({ holds }) => holds);
  };
  const store = async (documents: readonly object[]) => {
    await database.exec("TRUNCATE documents");
    await database.query(
      "INSERT INTO documents SELECT ordinality, value FROM jsonb_array_elements($1::text::jsonb) WITH ORDINALITY",
      [JSON.stringify(documents)],
    );
  };

  const names = fc.constantFrom("a", "b", "c", "0", "x'y", '"', "$", "é", "__proto__");
  const field = fc.oneof(names, fc.tuple(names, names).map((pair) => pair.join("."))).filter((name) => !name.startsWith("$"));
  const text = fc.oneof(
    fc.constantFrom("", "a", "ab", "b", "8", "true", "%", "\\", "'", '"', "\uffff", "😀", "é"),
    fc.string({ unit: "grapheme", maxLength: 3 }).filter((string) => !string.includes("\0")),
  );
  const number = fc.oneof(fc.integer({ min: -2, max: 9 }), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constantFrom(0.1, 1e300, 5e-324, 2 ** 53));
  const value = fc.oneof(text, number, fc.boolean(), fc.constant(null));
  const json = fc.letrec((tie) => ({
    any: fc.oneof({ maxDepth: 3 }, value, fc.array(tie("any"), { maxLength: 3 }), fc.dictionary(names, tie("any"), { maxKeys: 3, noNullPrototype: true })),
  })).any;
  const metadata = fc.dictionary(names, json, { maxKeys: 4, noNullPrototype: true });
  const operators = fc.oneof(
    fc.record({ $eq: value }),
    fc.record({ $ne: value }),
    fc.record({ $in: fc.array(value, { maxLength: 30 }) }),
    fc.record({ $nin: fc.array(value, { maxLength: 4 }) }),
    fc.record({ $gt: fc.oneof(text, number), $lte: fc.oneof(text, number) }, { requiredKeys: [] }).filter((each) => Object.keys(each).length > 0),
    fc.record({ $gte: fc.oneof(text, number) }),
    fc.record({ $lt: fc.oneof(text, number) }),
    fc.record({ $prefix: text }),
    fc.record({ $exists: fc.boolean() }),
  );
  const filters = fc.letrec((tie) => ({
    filter: fc.oneof(
      { maxDepth: 3 },
      fc.dictionary(field, fc.oneof(value, operators), { maxKeys: 2, noNullPrototype: true }),
      fc.record({ $not: tie("filter") }),
      fc.record({ $and: fc.array(tie("filter"), { minLength: 1, maxLength: 3 }) }),
      fc.record({ $or: fc.array(tie("filter"), { minLength: 1, maxLength: 3 }) }),
    ),
  })).filter as fc.Arbitrary<object>;

  test("every filter holds for the same documents as in memory", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(metadata, { minLength: 1, maxLength: 12 }), fc.array(filters, { minLength: 1, maxLength: 8 }), async (generated, asked) => {
        const documents = JSON.parse(JSON.stringify(generated)) as Record<string, unknown>[];
        await store(documents);
        for (const filter of asked) {
          expect(await matches(filter), JSON.stringify(filter)).toEqual(documents.map((each) => evaluateFilter(parseFilter(filter), each)));
        }
      }),
      { numRuns: 300 },
    );
  }, 120_000);

  test("values travel as parameters, never in the text", () => {
    const params: unknown[] = ["before"];
    const sql = filterToSql(parseFilter({ "x'; DROP TABLE documents; --": { $in: ["'", 1], $gt: "'" } }), "metadata", params);
    expect(sql).not.toMatch(/DROP|'''/);
    expect(sql).toContain("$2::text::jsonb");
    expect(params).toHaveLength(7);
  });

  test("equality uses an index over the column", async () => {
    await store(Array.from({ length: 3_000 }, (_, n) => ({ kind: `kind${n}` })));
    await database.exec("CREATE INDEX documents_metadata ON documents USING gin (metadata jsonb_path_ops); ANALYZE documents");
    const params: unknown[] = [];
    const condition = filterToSql(parseFilter({ kind: { $in: ["kind7", "kind8"] } }), "metadata", params);
    const { rows } = await database.query<{ "QUERY PLAN": string }>(`EXPLAIN SELECT id FROM documents WHERE ${condition}`, params);
    expect(rows.map((row) => row["QUERY PLAN"]).join("\n")).toContain("Bitmap Index Scan on documents_metadata");
    await database.exec("DROP INDEX documents_metadata");
  });
});
