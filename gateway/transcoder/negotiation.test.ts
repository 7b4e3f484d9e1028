import { describe, expect, test } from "vitest";
import { acceptsGzip, isJson, negotiateMediaType } from "./negotiation.js";

const offered = ["text/event-stream", "application/x-ndjson"];

describe("the media type that Accept likes best", () => {
  test.each([
    { accept: undefined, type: "text/event-stream" },
    { accept: "", type: "text/event-stream" },
    { accept: "*/*", type: "text/event-stream" },
    { accept: "application/*", type: "application/x-ndjson" },
    { accept: "Application/X-NDJSON", type: "application/x-ndjson" },
    { accept: "text/event-stream;q=0.4, application/x-ndjson;q=0.5", type: "application/x-ndjson" },
    { accept: "*/*;q=0.1, application/x-ndjson", type: "application/x-ndjson" },
    // The most specific range decides, not the most generous one.
    { accept: "*/*, text/event-stream;q=0", type: "application/x-ndjson" },
    { accept: "text/*;q=0.2, text/event-stream;q=0.9, */*;q=0.5", type: "text/event-stream" },
    { accept: "text/event-stream;q=none", type: undefined },
    { accept: "text/html", type: undefined },
  ])("$accept: $type", ({ accept, type }) => {
    expect(negotiateMediaType(accept, offered)).toBe(type);
  });
});

test.each([
  { accept: undefined, gzip: false },
  { accept: "gzip", gzip: true },
  { accept: "deflate, GZIP;q=0.1", gzip: true },
  { accept: "gzip;q=0", gzip: false },
  { accept: "*;q=0", gzip: false },
  { accept: "identity", gzip: false },
])("Accept-Encoding $accept allows gzip: $gzip", ({ accept, gzip }) => {
  expect(acceptsGzip(accept)).toBe(gzip);
});

test.each([
  { type: "application/json", json: true },
  { type: "application/problem+json", json: true },
  { type: "text/json", json: false },
  { type: "application/jsonp", json: false },
])("$type is JSON: $json", ({ type, json }) => {
  expect(isJson(type)).toBe(json);
});
