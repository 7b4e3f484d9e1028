import { describe, expect, test } from "vitest";
import { HttpError } from "./http-error.js";
import { JsonCodec } from "./json-codec.js";
import { parseQuery } from "./query-params.js";
import { bindRequest, compileBinding } from "./request-binding.js";
import { testMessage, testService } from "./testdata/transcoding.js";

const kinds = testMessage("Kinds");
const codec = new JsonCodec();
const search = testService("Library").method["search"]!;
const binding = compileBinding(search, {
  httpMethod: "GET",
  path: "/kinds/{an_int32}",
  body: "nested",
  responseBody: "",
});

function bind(query: string) {
  const pathVariables = [["an_int32", "7"]] as const;
  const message = bindRequest(kinds, binding, { pathVariables, query: parseQuery(query)!, body: undefined }, codec);
  return codec.toJson(kinds, message);
}

function problems(query: string): string[] {
  try {
    bind(query);
    return [];
  } catch (error) {
    return (error as HttpError).violations.map(({ field, description }) => `${field}: ${description}`);
  }
}

describe("parameters of every kind", () => {
  test.each([
    { query: "", message: { an_int32: 7 } },
    { query: "a_string=a+b%2Bc%E2%82%AC", message: { a_string: "a b+c€" } },
    { query: "a_string=&&a_bool=true", message: { a_string: "", a_bool: true } },
    { query: "a_string=a=b", message: { a_string: "a=b" } },
    { query: "aString=a&anInt64=9007199254740993", message: { a_string: "a", an_int64: "9007199254740993" } },
    {
      query: "an_uint64=18446744073709551615&a_text_int64=5",
      message: { an_uint64: "18446744073709551615", a_text_int64: 5 },
    },
    { query: "a_double=1e3&a_float=-0.5", message: { a_double: 1000, a_float: -0.5 } },
    { query: "a_bytes=-_8", message: { a_bytes: "+/8=" } },
    { query: "an_enum=hardcover", message: { an_enum: "HARDCOVER" } },
    { query: "an_enum=BINDING_PAPERBACK", message: { an_enum: "PAPERBACK" } },
    { query: "an_enum=2", message: { an_enum: "HARDCOVER" } },
    { query: "strings=a&strings=&strings=c", message: { strings: ["a", "", "c"] } },
    {
      query: "int64s=1&enums=HARDCOVER&int64s=2&enums=1",
      message: { int64s: [1, 2], enums: ["HARDCOVER", "PAPERBACK"] },
    },
    { query: "choice_text=a", message: { choice_text: "a" } },
    { query: "choice_wrapper=a", message: { choice_wrapper: "a" } },
    { query: "an_optional=", message: { an_optional: "" } },
    { query: "timestamp=2026-01-31T12:00:00%2B01:00", message: { timestamp: "2026-01-31T11:00:00Z" } },
    { query: "duration=1.5s", message: { duration: "1.500s" } },
    { query: "field_mask=title,aKey.b", message: { field_mask: "title,a_key.b" } },
    {
      query: "int64_value=5&bool_value=false&bytes_value=AQ",
      message: { int64_value: 5, bool_value: false, bytes_value: "AQ==" },
    },
    {
      query: "timestamps=2026-01-31T12:00:00Z&string_values=a&string_values=b",
      message: { timestamps: ["2026-01-31T12:00:00Z"], string_values: ["a", "b"] },
    },
  ])("$query", ({ query, message }) => {
    expect(bind(query)).toMatchObject(message);
  });
});

describe("parameters that do not fit are named", () => {
  test.each([
    { query: "colour=red", problem: "colour: is not a known parameter" },
    { query: "a_string.x=1", problem: "a_string.x: is not a known parameter" },
    { query: "timestamp.seconds=1", problem: "timestamp.seconds: is not a known parameter" },
    { query: "a_string=a&aString=b", problem: "a_string: is given more than once" },
    { query: "an_int32=8", problem: "an_int32: is given by the URL's path, not by its query" },
    { query: "nested.text=a", problem: "nested.text: is given by the body, not by the query" },
    { query: "a_bool=1", problem: 'a_bool: must be true or false, not "1"' },
    { query: "an_uint32=-1", problem: "an_uint32: must be an integer from 0 to 4294967295" },
    { query: "an_enum=9", problem: "an_enum: must be one of PAPERBACK, HARDCOVER, not 9" },
    { query: "int64s=1&int64s=x", problem: 'int64s: must be an integer, not "x"' },
    { query: "struct=%7B%7D", problem: "struct: holds JSON that a URL's query cannot carry" },
    { query: "struct.a=1", problem: "struct.a: is not a known parameter" },
    { query: "value=1", problem: "value: holds JSON that a URL's query cannot carry" },
    { query: "string_map=1", problem: "string_map: holds JSON that a URL's query cannot carry" },
    { query: "nesteds=1", problem: "nesteds: holds JSON that a URL's query cannot carry" },
    { query: "choice_text=a&choice_number=1", problem: "choice_number: cannot be given together with choice_text" },
    { query: "timestamp=now", problem: 'timestamp: must be a time such as "2026-01-31T12:00:00Z", not "now"' },
  ])("$query", ({ query, problem }) => {
    expect(problems(query)).toEqual([problem]);
  });

  test("an object must be given field by field, where it is not the body", () => {
    const asQuery = compileBinding(search, { httpMethod: "GET", path: "/kinds", body: "", responseBody: "" });
    const bindIt = (query: string) =>
      codec.toJson(
        kinds,
        bindRequest(kinds, asQuery, { pathVariables: [], query: parseQuery(query)!, body: undefined }, codec),
      );
    expect(() => bindIt("nested=a")).toThrow(
      "nested: is an object: give its fields one by one, with a dot before each name",
    );
    expect(bindIt("nested.nested.text=a&nested.text=b")).toMatchObject({
      nested: { text: "b", nested: { text: "a" } },
    });
  });
});

test("a query that is not UTF-8 has no parameters", () => {
  expect(parseQuery("a=%FF")).toBeUndefined();
  expect(parseQuery("%=a")).toBeUndefined();
});

describe("rules that do not fit their RPC are refused, naming it", () => {
  test.each([
    { path: "/v1/{nothing}", body: "", responseBody: "", problem: 'the request has no field "nothing"' },
    {
      path: "/v1/{nested}",
      body: "",
      responseBody: "",
      problem: '"nested" cannot be a path variable: it is not a single primitive value',
    },
    {
      path: "/v1/{strings}",
      body: "",
      responseBody: "",
      problem: '"strings" cannot be a path variable: it is not a single primitive value',
    },
    { path: "/v1", body: "nothing", responseBody: "", problem: 'Kinds has no field "nothing"' },
    { path: "/v1", body: "", responseBody: "nothing", problem: 'Kinds has no field "nothing"' },
  ])("$problem", ({ problem, ...rule }) => {
    const compile = () => compileBinding(search, { httpMethod: "GET", ...rule });
    expect(compile).toThrow(`transcoding.v1.Library.Search, GET ${rule.path}: ${problem}.`);
  });
});
