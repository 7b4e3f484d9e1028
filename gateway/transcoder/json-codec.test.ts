import { create, createRegistry, fromBinary, type JsonValue, toBinary } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JsonCodec } from "./json-codec.js";
import { testMessage, testRegistry } from "./testdata/transcoding.js";
import { Violations } from "./violations.js";

const codec = new JsonCodec(createRegistry(testRegistry));
const kinds = testMessage("Kinds");
const book = testMessage("Book");

/** What a client gets back for what it sent, after a trip over the wire. */
function roundTrip(json: JsonValue, desc = kinds): JsonValue {
  const violations = new Violations();
  const message = codec.fromJson(desc, json, violations)!;
  expect(violations.found).toEqual([]);
  return codec.toJson(desc, fromBinary(desc, toBinary(desc, message)));
}

/** The violations of a message, as "field: description". */
function problems(json: JsonValue, desc = kinds): string[] {
  const violations = new Violations();
  codec.fromJson(desc, json, violations);
  return violations.found.map(({ field, description }) => `${field}: ${description}`);
}

test("fields without presence are always there, fields with presence only when set", () => {
  expect(codec.toJson(book, create(book))).toEqual({
    name: "",
    title: "",
    page_count: 0,
    binding: "UNSPECIFIED",
    tags: [],
    scan_bytes: 0,
    copies: {},
  });
  expect(roundTrip({ price: 0, shelf: "", metadata: {} }, book)).toMatchObject({ price: 0, shelf: "", metadata: {} });
});

describe("values that come back as they went", () => {
  test.each<Record<string, JsonValue>>([
    { an_int32: -2147483648 },
    { an_uint32: 4294967295 },
    { an_int64: 9007199254740991 },
    { an_int64: "9007199254740992" },
    { an_int64: "-9223372036854775808" },
    { an_uint64: "18446744073709551615" },
    { a_fixed64: 7 },
    { a_text_int64: 7 },
    { a_text_int64: "9223372036854775807" },
    { a_float: 0.5 },
    { a_double: 1e300 },
    { a_double: "NaN" },
    { a_double: "-Infinity" },
    { a_bool: true },
    { a_string: "naïve \u{1F600} \0" },
    { a_bytes: "+/8=" },
    { an_enum: "HARDCOVER" },
    { an_optional: "" },
    { nested: { text: "a", nested: { text: "b" } } },
    { strings: ["a", ""], int64s: [1, "9007199254740993"], enums: ["PAPERBACK", "UNSPECIFIED"] },
    { nesteds: [{ text: "a" }, { text: "" }] },
    { string_map: { a: "b", "": "c", constructor: "d" } },
    { nested_map: { "-1": { text: "a" } }, bool_map: { true: "PAPERBACK" } },
    { choice_text: "" },
    { choice_wrapper: "a" },
    { timestamp: "2026-01-31T12:00:00.123Z" },
    { duration: "-1.500s" },
    { field_mask: "title,metadata.page_count" },
    { int64_value: 0, bool_value: false, bytes_value: "AQ==" },
    { int64_value: "9007199254740993" },
    { struct: { a: [1, "b", null, { c: true }], an_Odd_key: {} } },
    { value: null },
    { value: [1, { a: "b" }] },
    { list_value: ["a", 1] },
    { timestamps: ["2026-01-31T12:00:00Z"], string_values: ["a", ""], structs: [{ a: 1 }, {}] },
    { any: { "@type": "type.googleapis.com/transcoding.v1.Reader", name: "Ann", email: "" } },
  ])("%j", (json) => {
    expect(roundTrip(json)).toMatchObject(json);
  });
});

describe("other spellings", () => {
  test.each<{ sent: Record<string, JsonValue>; got: Record<string, JsonValue> }>([
    { sent: { anInt32: 1, aString: "a" }, got: { an_int32: 1, a_string: "a" } },
    { sent: { an_int32: "12", an_int64: "12", a_double: "1.5" }, got: { an_int32: 12, an_int64: 12, a_double: 1.5 } },
    { sent: { an_int32: 1e3 }, got: { an_int32: 1000 } },
    { sent: { an_enum: "hardcover" }, got: { an_enum: "HARDCOVER" } },
    { sent: { an_enum: "BINDING_HARDCOVER" }, got: { an_enum: "HARDCOVER" } },
    { sent: { an_enum: 2 }, got: { an_enum: "HARDCOVER" } },
    { sent: { a_bytes: "-_8" }, got: { a_bytes: "+/8=" } },
    { sent: { field_mask: "pageCount, metadata.aKey" }, got: { field_mask: "page_count,metadata.a_key" } },
    { sent: { timestamp: "2026-01-31T12:00:00+01:00" }, got: { timestamp: "2026-01-31T11:00:00Z" } },
    {
      sent: { a_string: null, strings: null, nested: null, string_map: null },
      got: { a_string: "", strings: [], string_map: {} },
    },
    { sent: { nested_map: { "01": { text: "a" } } }, got: { nested_map: { 1: { text: "a" } } } },
  ])("$sent", ({ sent, got }) => {
    expect(roundTrip(sent)).toMatchObject(got);
  });
});

describe("what does not fit is named", () => {
  test.each<{ json: JsonValue; problem: string }>([
    { json: [], problem: ": must be an object, not an array" },
    { json: "a", problem: ': must be an object, not "a"' },
    { json: { a_string: 1 }, problem: "a_string: must be a string, not 1" },
    { json: { a_string: ["a"] }, problem: "a_string: must be a string, not an array" },
    { json: { a_string: "\ud800" }, problem: "a_string: must be valid Unicode: it contains half of a surrogate pair" },
    { json: { a_bool: "true" }, problem: 'a_bool: must be true or false, not "true"' },
    { json: { an_int32: 1.5 }, problem: "an_int32: must be an integer, without a fraction" },
    { json: { an_int32: "1.0" }, problem: 'an_int32: must be an integer, not "1.0"' },
    { json: { an_int32: "" }, problem: 'an_int32: must be an integer, not ""' },
    { json: { an_int32: 2147483648 }, problem: "an_int32: must be an integer from -2147483648 to 2147483647" },
    { json: { an_int32: 1e20 }, problem: "an_int32: must be an integer from -2147483648 to 2147483647" },
    { json: { an_uint32: -1 }, problem: "an_uint32: must be an integer from 0 to 4294967295" },
    {
      json: { an_int64: 2 ** 53 },
      problem: "an_int64: is too large to be exact as a JSON number; send it as a string",
    },
    { json: { an_uint64: "-1" }, problem: "an_uint64: must be an integer from 0 to 18446744073709551615" },
    { json: { a_float: 1e39 }, problem: "a_float: is a number beyond the range of its type" },
    { json: { a_double: "0x10" }, problem: 'a_double: must be a number, not "0x10"' },
    { json: { a_bytes: "a*" }, problem: "a_bytes: must be base64" },
    { json: { a_bytes: "a" }, problem: "a_bytes: must be base64" },
    { json: { an_enum: "LEATHER" }, problem: 'an_enum: must be one of PAPERBACK, HARDCOVER, not "LEATHER"' },
    { json: { an_enum: 7 }, problem: "an_enum: must be one of PAPERBACK, HARDCOVER, not 7" },
    { json: { nested: "a" }, problem: 'nested: must be an object, not "a"' },
    { json: { nested: { nested: { text: 1 } } }, problem: "nested.nested.text: must be a string, not 1" },
    { json: { nested: { colour: "red" } }, problem: "nested.colour: is not a known field; known are text, nested" },
    { json: { strings: "a" }, problem: 'strings: must be an array, not "a"' },
    { json: { strings: ["a", 2] }, problem: "strings[1]: must be a string, not 2" },
    { json: { strings: [null] }, problem: "strings[0]: must not be null" },
    { json: { nesteds: [{}, { text: 1 }] }, problem: "nesteds[1].text: must be a string, not 1" },
    { json: { string_map: [] }, problem: "string_map: must be an object, not an array" },
    { json: { string_map: { a: 1 } }, problem: 'string_map["a"]: must be a string, not 1' },
    { json: { nested_map: { x: {} } }, problem: 'nested_map["x"]: must be an integer, not "x"' },
    { json: { bool_map: { yes: 1 } }, problem: 'bool_map["yes"]: must be true or false, not "yes"' },
    {
      json: { choice_text: "a", choice_number: 1 },
      problem: "choice_number: cannot be given together with choice_text",
    },
    { json: { an_int32: 1, anInt32: 1 }, problem: "an_int32: is given twice, in snake_case and in camelCase" },
    {
      json: { timestamp: "yesterday" },
      problem: 'timestamp: must be a time such as "2026-01-31T12:00:00Z", not "yesterday"',
    },
    { json: { duration: 1 }, problem: 'duration: must be a duration in seconds such as "1.5s", not 1' },
    { json: { field_mask: "a,,b" }, problem: 'field_mask: holds "", which is not a field path' },
    { json: { int64_value: {} }, problem: "int64_value: must be an integer, not an object" },
    { json: { struct: { a: Infinity } }, problem: "struct.a: is a number beyond the range of its type" },
    { json: { struct: [] }, problem: "struct: must be an object, not an array" },
    {
      json: { struct: { a: ["\udc00"] } },
      problem: "struct.a[0]: must be valid Unicode: it contains half of a surrogate pair",
    },
    { json: { any: {} }, problem: "any.@type: must name a type" },
    { json: { any: { "@type": "x/none.None" } }, problem: "any.@type: names an unknown type" },
    { json: { any: { "@type": "x/transcoding.v1.Reader", name: 1 } }, problem: "any.name: must be a string, not 1" },
  ])("$problem", ({ json, problem }) => {
    expect(problems(json)).toEqual([problem]);
  });

  test("a field named __proto__ and a map or Struct key of that name are refused", () => {
    expect(problems(JSON.parse('{"__proto__": 1}'))).toEqual([expect.stringContaining("is not a known field")]);
    expect(problems(JSON.parse('{"string_map": {"__proto__": "a"}}'))).toEqual([
      expect.stringContaining('key "__proto__"'),
    ]);
    expect(problems(JSON.parse('{"struct": {"a": {"__proto__": {}}}}'))).toEqual([
      expect.stringContaining('key "__proto__"'),
    ]);
  });

  test("nesting is limited, in messages and in Structs", () => {
    const messages = JSON.parse(`${'{"nested":'.repeat(200)}{}${"}".repeat(200)}`);
    expect(problems(messages)).toEqual([expect.stringContaining("is nested more than 100 levels deep")]);
    const struct = JSON.parse(`{"struct":${'{"a":'.repeat(200)}{}${"}".repeat(200)}}`);
    expect(problems(struct)).toEqual([expect.stringContaining("is nested more than 100 levels deep")]);
  });

  test("all that is wrong is named at once, up to a limit", () => {
    expect(problems({ a_string: 1, a_bool: 2, colour: 3 })).toHaveLength(3);
    expect(problems({ strings: Array(1000).fill(1) })).toHaveLength(20);
  });
});

test("an Any of an unknown type shows its bytes", () => {
  const any = testMessage("Kinds").field["any"]!.message!;
  const message = create(any, { typeUrl: "type.googleapis.com/none.None", value: new Uint8Array([1]) });
  expect(codec.toJson(any, message)).toEqual({ "@type": "type.googleapis.com/none.None", value: "AQ==" });
});

test("an enum number that the schema lacks is shown as the number", () => {
  expect(codec.toJson(book, create(book, { binding: 9 }))).toMatchObject({ binding: 9 });
});

test("whatever JSON comes in, the answer is a message or violations", () => {
  const names = kinds.fields.map((field) => field.name);
  const anyBody = fc.dictionary(fc.constantFrom(...names), fc.jsonValue({ depthSize: "small" }), { maxKeys: 8 });
  fc.assert(
    fc.property(anyBody, (json) => {
      const violations = new Violations();
      const message = codec.fromJson(kinds, json as JsonValue, violations)!;
      if (violations.found.length > 0) return;
      const shown = codec.toJson(kinds, fromBinary(kinds, toBinary(kinds, message)));
      expect(roundTrip(shown)).toEqual(shown);
    }),
    { numRuns: 2000 },
  );
});
