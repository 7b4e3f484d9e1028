import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RestServer, startRestServer } from "./testdata/rest-server.js";
import { testService } from "./testdata/transcoding.js";

const library = testService("Library");
const echo = ["replaceBook", "tagBook", "lendBook", "search", "getFile", "probe"];

let rest: RestServer;
beforeAll(async () => {
  const handlers = Object.fromEntries(echo.map((rpc) => [rpc, (request: unknown) => request]));
  rest = await startRestServer((router) => router.service(library, handlers as object), {
    multipart: { "transcoding.v1.Library.UploadPages": { header: "header", data: "data" } },
  });
});
afterAll(() => rest[Symbol.asyncDispose]());

const methods = fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "REPORT");
const segment = fc.constantFrom(
  "v1",
  "shelves",
  "books",
  "kinds",
  "files",
  "1",
  "a:b",
  "kinds:search",
  "%2F",
  "%",
  "..",
  "",
  "é%20",
  ":lend",
);
const path = fc
  .array(segment, { maxLength: 6 })
  .map((segments) => encodeURI(`/${segments.join("/")}`).replaceAll("%25", "%"));
const known = fc.constantFrom(
  "/v1/kinds",
  "/v1/shelves/1/books/2",
  "/v1/shelves/1/books/2:lend",
  "/v1/shelves/1/books/2/tags",
  "/v1/kinds:search",
);
const query = fc.webQueryParameters().map((text) => (text === "" ? "" : `?${text}`));
const contentType = fc.constantFrom(
  "application/json",
  "text/plain",
  "multipart/form-data; boundary=B",
  "application/x-ndjson",
  "",
);
const body = fc.oneof(fc.json({ maxDepth: 4 }), fc.string(), fc.constant(undefined));

test("whatever is asked, the answer is no failure of ours, and a Status when it is an error", async () => {
  const request = fc.record({ method: methods, path: fc.oneof(path, known), query, contentType, body });
  await fc.assert(
    fc.asyncProperty(request, async (asked) => {
      const headers: Record<string, string> = asked.contentType === "" ? {} : { "content-type": asked.contentType };
      const answer = await rest.ask(asked.method, asked.path + asked.query, { headers, body: asked.body });
      // The RPCs that have no handler are UNIMPLEMENTED: everything before them went well.
      if (answer.status !== 501) expect(answer.status).toBeLessThan(500);
      if (answer.status >= 400)
        expect(answer.json).toMatchObject({ code: expect.any(Number), message: expect.any(String) });
    }),
    { numRuns: 1000 },
  );
});
