import { describe, expect, test } from "vitest";
import { parsePathTemplate } from "./path-template.js";
import { RouteTable } from "./route-table.js";

function tableOf(...routes: string[]): RouteTable<string> {
  const table = new RouteTable<string>();
  for (const route of routes) {
    const [method, template] = route.split(" ") as [string, string];
    table.add(method, parsePathTemplate(template), route);
  }
  return table;
}

function find(table: RouteTable<string>, request: string): unknown {
  const [method, path] = request.split(" ") as [string, string];
  const found = table.find(method, path);
  if (found.kind === "match") return [found.route, Object.fromEntries(found.variables)];
  return found.kind === "method_not_allowed" ? found.allow : found.kind;
}

describe("the most specific template answers", () => {
  const table = tableOf(
    "GET /v1/{id}",
    "GET /v1/special",
    "GET /v1/{id}:raw",
    "GET /v1/special:raw",
    "GET /v1/{path=**}",
    "GET /v1/{path=**}:raw",
    "GET /v1/{id}/info",
    "GET /v1/{kind}/{id}",
    "GET /v1/a/{id=b/*}",
  );
  test.each([
    { request: "GET /v1/special", route: "GET /v1/special", variables: {} },
    { request: "GET /v1/other", route: "GET /v1/{id}", variables: { id: "other" } },
    { request: "GET /v1/other:raw", route: "GET /v1/{id}:raw", variables: { id: "other" } },
    { request: "GET /v1/special:raw", route: "GET /v1/special:raw", variables: {} },
    { request: "GET /v1/a:b", route: "GET /v1/{id}", variables: { id: "a:b" } },
    { request: "GET /v1/a:b:raw", route: "GET /v1/{id}:raw", variables: { id: "a:b" } },
    { request: "GET /v1/a%3Araw", route: "GET /v1/{id}", variables: { id: "a:raw" } },
    { request: "GET /v1/x/info", route: "GET /v1/{id}/info", variables: { id: "x" } },
    { request: "GET /v1/x/y", route: "GET /v1/{kind}/{id}", variables: { kind: "x", id: "y" } },
    { request: "GET /v1/a/b/c", route: "GET /v1/a/{id=b/*}", variables: { id: "b/c" } },
    { request: "GET /v1/a/c/b", route: "GET /v1/{path=**}", variables: { path: "a/c/b" } },
    { request: "GET /v1/a/c/b:raw", route: "GET /v1/{path=**}:raw", variables: { path: "a/c/b" } },
    { request: "GET /v1", route: "GET /v1/{path=**}", variables: { path: "" } },
  ])("$request -> $route", ({ request, route, variables }) => {
    expect(find(table, request)).toEqual([route, variables]);
  });
});

describe("percent-encoding", () => {
  const table = tableOf("GET /one/{id}", "GET /many/{path=**}", "GET /pair/{name=a/*}", "GET /caf%C3%A9/x%2By");
  test.each([
    { request: "GET /one/a%2Fb%20c", found: { id: "a/b c" } },
    { request: "GET /one/a+b", found: { id: "a+b" } },
    { request: "GET /one/%E2%82%AC", found: { id: "€" } },
    { request: "GET /many/a%2Fb/c%2fd%20e", found: { path: "a%2Fb/c%2fd e" } },
    { request: "GET /pair/a/b%2Fc", found: { name: "a/b%2Fc" } },
    { request: "GET /caf%c3%a9/x+y", found: {} },
  ])("$request", ({ request, found }) => {
    expect(find(table, request)).toEqual([expect.any(String), found]);
  });

  test("slashes in variables of several segments can be decoded too", () => {
    const decoding = new RouteTable<string>({ decodeSlashes: true });
    decoding.add("GET", parsePathTemplate("/many/{path=**}"), "many");
    expect(find(decoding, "GET /many/a%2Fb/c%2fd%20e")).toEqual(["many", { path: "a/b/c/d e" }]);
  });

  test.each([
    "GET /one/%",
    "GET /one/%zz",
    "GET /one/%FF",
    "GET /many/../one",
    "GET /many/a/%2e%2E/b",
    "GET /one/.",
    "GET x",
  ])("%s is malformed", (request) => {
    expect(find(table, request)).toBe("malformed");
  });
});

describe("paths that match nothing", () => {
  const table = tableOf("GET /v1/{id}", "GET /v1/{id}/pages", "GET /files/{path=**}", "GET /v1/{id}:raw");
  test.each([
    "GET /",
    "GET /v1/",
    "GET /v1/a/",
    "GET /v1//pages",
    "GET /v2/a",
    "GET /files/a//b",
    "GET /files/",
    "GET /v1/:raw",
  ])("%s", (request) => {
    // Empty segments never match: an id is never empty.
    const expected = request === "GET /v1/:raw" ? ["GET /v1/{id}", { id: ":raw" }] : "not_found";
    expect(find(table, request)).toEqual(expected);
  });
});

describe("HTTP methods", () => {
  const table = tableOf("GET /v1/{id}", "DELETE /v1/{id}", "POST /v1/special", "* /any", "REPORT /any");
  table.addImplied("HEAD", parsePathTemplate("/v1/{id}"), "implied");
  table.addImplied("POST", parsePathTemplate("/v1/special"), "implied");
  test.each([
    { request: "HEAD /v1/a", found: ["implied", { id: "a" }] },
    { request: "POST /v1/special", found: ["POST /v1/special", {}] },
    { request: "DELETE /v1/special", found: ["DELETE /v1/{id}", { id: "special" }] },
    { request: "PUT /v1/special", found: ["DELETE", "GET", "HEAD", "OPTIONS", "POST"] },
    { request: "PUT /v1/a", found: ["DELETE", "GET", "HEAD", "OPTIONS"] },
    { request: "PURGE /any", found: ["* /any", {}] },
    { request: "REPORT /any", found: ["REPORT /any", {}] },
  ])("$request", ({ request, found }) => {
    expect(find(table, request)).toEqual(found);
  });
});

test("two routes of the same shape and method are refused, naming both", () => {
  expect(() => tableOf("GET /v1/{id}", "GET /v1/{name=*}")).toThrow(
    "GET /v1/{name=*} is bound twice; the other template is /v1/{id}.",
  );
});
