import { once } from "node:events";
import { Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { gunzipSync } from "node:zlib";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deferred } from "./testdata/deferred.js";
import { type Ask, type RestServer, startRestServer } from "./testdata/rest-server.js";
import { testService } from "./testdata/transcoding.js";
import { createTranscoder } from "./transcoder.js";

const library = testService("Library");
const name = "shelves/1/books/2";

/** The last call's context, to look at what reached the service. */
let lastCall: HandlerContext;

const handlers = {
  getBook(request: { name: string }, context: HandlerContext) {
    lastCall = context;
    if (request.name.endsWith("/missing")) throw new ConnectError("There is no such book.", Code.NotFound);
    if (request.name.endsWith("/broken")) throw new Error("row 7 of /var/lib/books is corrupt");
    if (request.name.endsWith("/unset")) return {};
    context.responseHeader.set("x-shelf-colour", "green");
    return { book: { name: request.name, title: "Middlemarch", binding: 2, scanBytes: 12345n } };
  },
  listBooks: (request: { pageSize: number }) => ({
    books: Array.from({ length: request.pageSize }, (_, i) => ({ name: `shelves/1/books/${i}` })),
    titles: ["a", "b"],
  }),
  createBook: (request: { parent: string; bookId: string; book?: object }) => ({
    ...request.book,
    name: `${request.parent}/books/${request.bookId}`,
  }),
  replaceBook: (request: object) => request,
  tagBook: (request: object) => request,
  deleteBook: () => ({}),
  lendBook: (request: object) => request,
  search: (request: object) => request,
  getFile: (request: object) => request,
  probe: (request: object) => request,
};

const mounted = (router: Parameters<Parameters<typeof startRestServer>[0]>[0]) =>
  router.service(library, handlers as object);

let rest: RestServer;
beforeAll(async () => {
  rest = await startRestServer(mounted, { maxBodyBytes: 1000, gzipThresholdBytes: 500 });
});
afterAll(() => rest[Symbol.asyncDispose]());

/** The ErrorInfo's reason of an error answer. */
const reasonOf = (answer: { json: any }): string | undefined => answer.json?.details?.[0]?.reason;

describe("bindings", () => {
  test.each([
    {
      http: `GET /v1/${name}`,
      answer: { name, title: "Middlemarch", binding: "HARDCOVER", scan_bytes: 12345, tags: [] },
    },
    { http: "GET /v1/shelves/1/books/unset", answer: { name: "", tags: [] } },
    {
      http: "GET /v1/shelves/1/books?page_size=1",
      answer: { books: [{ name: "shelves/1/books/0" }], titles: ["a", "b"] },
    },
    { http: "GET /v1/shelves/1/titles", answer: ["a", "b"] },
    {
      http: "POST /v1/shelves/1/books?book_id=9",
      body: { title: "Emma" },
      answer: { name: "shelves/1/books/9", title: "Emma" },
    },
    { http: "POST /v1/shelves/1/books?bookId=9", answer: { name: "shelves/1/books/9", title: "" } },
    { http: `PUT /v1/${name}`, body: { title: "Emma" }, answer: { name, title: "Emma" } },
    { http: `PUT /v1/${name}`, body: { title: "Emma", name }, answer: { name, title: "Emma" } },
    { http: `PUT /v1/${name}`, answer: { name, title: "" } },
    { http: `PUT /v1/${name}/tags`, body: ["a", "b"], answer: { name, tags: ["a", "b"] } },
    { http: `DELETE /v1/${name}`, answer: {} },
    {
      http: `POST /v1/${name}:lend`,
      body: { period: "3600s", reader: { name: "Ann" } },
      answer: { name, period: "3600s" },
    },
    { http: "POST /v1/kinds/-5/HARDCOVER/true", answer: { an_int32: -5, an_enum: "HARDCOVER", a_bool: true } },
    { http: "GET /v1/files/a/b%20c", answer: { path: "a/b c" } },
    { http: "GET /v1/files/a/b:raw", answer: { path: "a/b" } },
    { http: "GET /v1/files/special", answer: { path: "" } },
    { http: "REPORT /v1/probe?path=x", answer: { path: "x" } },
    { http: "GET /v1/any?path=x", answer: { path: "x" } },
    { http: "PUT /v1/any?path=x", answer: { path: "x" } },
    { http: "GET http://library.example.com/v1/any?path=x", answer: { path: "x" } },
  ])("$http", async ({ http, body, answer }) => {
    const [method, target] = http.split(" ") as [string, string];
    const got = await rest.ask(method, target, { body });
    expect(got.json).toMatchObject(answer);
    expect(got.status).toBe(200);
    expect(got.headers["content-type"]).toBe("application/json");
  });

  test("an RPC without a rule has no route", async () => {
    expect((await rest.ask("POST", "/transcoding.v1.Library/Hidden", { body: {} })).status).toBe(404);
  });
});

describe("requests that the HTTP layer refuses", () => {
  const json = { "content-type": "application/json" };
  test.each<{ http: string; ask?: Ask; status: number; code: number; reason: string }>([
    { http: "GET /v1/nowhere", status: 404, code: 5, reason: "ROUTE_NOT_FOUND" },
    { http: "GET /", status: 404, code: 5, reason: "ROUTE_NOT_FOUND" },
    { http: `POST /v1/${name}`, status: 405, code: 12, reason: "METHOD_NOT_ALLOWED" },
    {
      http: `GET /v1/${name}`,
      ask: { headers: { accept: "text/html" } },
      status: 406,
      code: 3,
      reason: "NOT_ACCEPTABLE",
    },
    {
      http: `GET /v1/${name}`,
      ask: { headers: { accept: "application/json;q=0" } },
      status: 406,
      code: 3,
      reason: "NOT_ACCEPTABLE",
    },
    { http: `GET /v1/${name}`, ask: { body: "{}", headers: json }, status: 400, code: 3, reason: "UNEXPECTED_BODY" },
    { http: `PUT /v1/${name}`, ask: { body: "{}" }, status: 415, code: 3, reason: "UNSUPPORTED_MEDIA_TYPE" },
    {
      http: `PUT /v1/${name}`,
      ask: { body: "a=b", headers: { "content-type": "application/x-www-form-urlencoded" } },
      status: 415,
      code: 3,
      reason: "UNSUPPORTED_MEDIA_TYPE",
    },
    {
      http: `PUT /v1/${name}`,
      ask: { body: "{}", headers: { "content-type": "application/json; charset=latin1" } },
      status: 415,
      code: 3,
      reason: "UNSUPPORTED_MEDIA_TYPE",
    },
    {
      http: `PUT /v1/${name}`,
      ask: { body: "{}", headers: { ...json, "content-encoding": "gzip" } },
      status: 415,
      code: 3,
      reason: "UNSUPPORTED_MEDIA_TYPE",
    },
    {
      http: `PUT /v1/${name}`,
      ask: { body: { title: "a".repeat(1000) } },
      status: 413,
      code: 3,
      reason: "BODY_TOO_LARGE",
    },
    { http: `PUT /v1/${name}`, ask: { body: "{", headers: json }, status: 400, code: 3, reason: "MALFORMED_JSON" },
    {
      http: `PUT /v1/${name}`,
      ask: { body: Buffer.from([0x22, 0xff, 0x22]), headers: json },
      status: 400,
      code: 3,
      reason: "MALFORMED_JSON",
    },
    {
      http: `PUT /v1/${name}`,
      ask: { body: "[".repeat(900), headers: json },
      status: 400,
      code: 3,
      reason: "MALFORMED_JSON",
    },
    { http: `PUT /v1/${name}?title=a`, ask: { body: {} }, status: 400, code: 3, reason: "INVALID_FIELD" },
    {
      http: `PUT /v1/${name}`,
      ask: { body: { name: "shelves/1/books/3" } },
      status: 400,
      code: 3,
      reason: "INVALID_FIELD",
    },
    { http: "GET /v1/kinds:search?a_string=%FF", status: 400, code: 3, reason: "MALFORMED_URL" },
    { http: "GET /v1/shelves/%FF/books", status: 400, code: 3, reason: "MALFORMED_URL" },
    { http: "GET /v1/shelves/../books", status: 400, code: 3, reason: "MALFORMED_URL" },
    {
      http: `GET /v1/${name}`,
      ask: { headers: { "x-request-timeout": "soon" } },
      status: 400,
      code: 3,
      reason: "MALFORMED_HEADER",
    },
    {
      http: `DELETE /v1/${name}`,
      ask: { headers: { origin: "https://evil.example" } },
      status: 403,
      code: 7,
      reason: "ORIGIN_NOT_ALLOWED",
    },
  ])("$http $ask -> $status $reason", async ({ http, ask, status, code, reason }) => {
    const [method, target] = http.split(" ") as [string, string];
    const answer = await rest.ask(method, target, ask);
    expect([answer.status, answer.json.code, reasonOf(answer)]).toEqual([status, code, reason]);
    expect(answer.json.details[0]).toMatchObject({ domain: "library.example.com" });
    expect(answer.headers["content-type"]).toBe("application/json");
  });

  test.each([
    { body: "{", message: "The body is not valid JSON at character 1." },
    { body: '{"a":1} x', message: "The body is not valid JSON at character 8." },
    { body: "[1,]", message: 'The body is not valid JSON: unexpected "]".' },
    { body: "[1", message: "The body is not valid JSON" },
  ])("malformed JSON is located: $body", async ({ body, message }) => {
    const answer = await rest.ask("PUT", `/v1/${name}`, { body, headers: json });
    expect(answer.json.message).toContain(message);
  });

  test("405 lists what is allowed", async () => {
    expect((await rest.ask("POST", `/v1/${name}`)).headers.allow).toBe("DELETE, GET, HEAD, OPTIONS, PUT");
  });

  test("every field that does not fit is in BadRequest", async () => {
    const answer = await rest.ask("PUT", `/v1/${name}`, { body: { title: 1, page_count: "x", colour: "red" } });
    expect(answer.json.details[1]).toMatchObject({
      "@type": "type.googleapis.com/google.rpc.BadRequest",
      field_violations: [
        { field: "title", description: "must be a string, not 1" },
        { field: "page_count", description: 'must be an integer, not "x"' },
        { field: "colour" },
      ],
    });
    expect(answer.json.message).toContain("title: must be a string, not 1; page_count: must be an integer");
  });

  test("a body without Content-Length is cut off at the cap", async () => {
    const request = httpRequest({ port: rest.port, method: "PUT", path: `/v1/${name}`, headers: json });
    const answered = once(request, "response") as Promise<[IncomingMessage]>;
    // The body never ends: the answer comes because the cap was passed.
    for (let i = 0; i < 3; i++) request.write(Buffer.alloc(400, " "));
    const [answer] = await answered;
    expect([answer.statusCode, answer.headers.connection]).toEqual([413, "close"]);
    request.destroy();
  });

  test("the connection is closed over a long body that nobody reads", async () => {
    const headers = { ...json, connection: "keep-alive" };
    const short = await rest.ask("POST", "/v1/nowhere", { headers, body: "{}" });
    expect([short.status, short.headers.connection]).toEqual([404, "keep-alive"]);
    const long = await rest.ask("POST", "/v1/nowhere", { headers, body: "{}".padEnd(1001) });
    expect([long.status, long.headers.connection]).toEqual([404, "close"]);
  });

  test("the connection survives a refusal whose short body was not read", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const reused: boolean[] = [];
    for (let i = 0; i < 3; i++) {
      const request = httpRequest({ port: rest.port, method: "POST", path: "/v1/nowhere", headers: json, agent });
      request.end("{}");
      const [answer] = (await once(request, "response")) as [IncomingMessage];
      answer.resume();
      await once(answer, "end");
      expect(answer.statusCode).toBe(404);
      reused.push(request.reusedSocket);
    }
    expect(reused).toEqual([false, true, true]);
    agent.destroy();
  });
});

describe("errors of the RPC", () => {
  test("are google.rpc.Status with the mapped HTTP status", async () => {
    const answer = await rest.ask("GET", "/v1/shelves/1/books/missing");
    expect(answer.status).toBe(404);
    expect(answer.json).toEqual({ code: 5, message: "There is no such book.", details: [] });
  });

  test("do not show what broke inside, but report it", async () => {
    const reported: unknown[] = [];
    await using server = await startRestServer(mounted, {
      onError: (error, { status, method }) => reported.push([status, method?.name, String(error)]),
    });
    const answer = await server.ask("GET", "/v1/shelves/1/books/broken");
    expect(answer.status).toBe(500);
    expect(answer.text).not.toContain("corrupt");
    expect(reported).toEqual([[500, "GetBook", expect.any(String)]]);
  });
});

describe("reads", () => {
  test("HEAD answers the headers of GET without its body", async () => {
    const get = await rest.ask("GET", `/v1/${name}`);
    const head = await rest.ask("HEAD", `/v1/${name}`);
    expect([head.status, head.text]).toEqual([200, ""]);
    expect(head.headers).toMatchObject({ etag: get.headers.etag, "content-length": get.headers["content-length"] });
  });

  test.each([
    ["REPORT /v1/probe?path=x", "@0"],
    ["GET /v1/shelves/1/books?page_size=1&language=en", "@0"],
    ["GET /v1/shelves/1/books?page_size=1", undefined],
  ])("%s: deprecation is %s, by the proto's own options", async (http, deprecation) => {
    const [method, path] = http.split(" ") as [string, string];
    const { status, headers } = await rest.ask(method, path);
    expect([status, headers["deprecation"]]).toEqual([200, deprecation]);
  });

  test("an ETag that the client has is answered with 304", async () => {
    const { headers } = await rest.ask("GET", `/v1/${name}`);
    expect(headers.etag).toMatch(/^W\/"[\w-]{22}"$/);
    for (const tag of [headers.etag!, "*", `"other", ${headers.etag!.slice(2)}`]) {
      const again = await rest.ask("GET", `/v1/${name}`, { headers: { "if-none-match": tag } });
      expect([again.status, again.text, again.headers.etag]).toEqual([304, "", headers.etag]);
    }
    const changed = await rest.ask("GET", "/v1/shelves/1/books/3", { headers: { "if-none-match": headers.etag! } });
    expect(changed.status).toBe(200);
  });

  test("writes and errors have no ETag", async () => {
    expect((await rest.ask("PUT", `/v1/${name}`, { body: {} })).headers.etag).toBeUndefined();
    expect((await rest.ask("GET", "/v1/shelves/1/books/missing")).headers.etag).toBeUndefined();
  });

  test.each([
    { accept: "gzip", size: 50, encoding: "gzip" },
    { accept: "br, gzip;q=0.5", size: 50, encoding: "gzip" },
    { accept: "*", size: 50, encoding: "gzip" },
    { accept: "gzip;q=0, *", size: 50, encoding: undefined },
    { accept: "br", size: 50, encoding: undefined },
    { accept: "gzip", size: 1, encoding: undefined },
  ])("Accept-Encoding $accept for $size books: $encoding", async ({ accept, size, encoding }) => {
    const answer = await rest.ask("GET", `/v1/shelves/1/books?page_size=${size}`, {
      headers: { "accept-encoding": accept },
    });
    expect(answer.headers["content-encoding"]).toBe(encoding);
    expect(answer.headers.vary).toContain("Accept-Encoding");
    const plain = encoding === undefined ? answer.bytes : gunzipSync(answer.bytes);
    expect(JSON.parse(plain.toString()).books).toHaveLength(size);
  });

  test.each(["*/*", "application/*", "application/json, text/plain", "text/html, */*;q=0.1", ""])(
    "Accept: %s",
    async (accept) => {
      expect((await rest.ask("GET", `/v1/${name}`, { headers: { accept } })).status).toBe(200);
    },
  );
});

describe("headers, deadlines and cancellation", () => {
  test("the hooks decide what goes to the RPC and what comes back", async () => {
    await using server = await startRestServer(mounted, {
      requestHeaders: (request, method) => ({ "x-user": String(request.headers["x-user"]), "x-rpc": method.name }),
      responseHeaders: (upstream) => [["x-colour", upstream.get("x-shelf-colour") ?? ""]],
    });
    const answer = await server.ask("GET", `/v1/${name}`, { headers: { "x-user": "ann", "x-secret": "s" } });
    expect(answer.headers["x-colour"]).toBe("green");
    expect(Object.fromEntries(lastCall.requestHeader)).toMatchObject({ "x-user": "ann", "x-rpc": "GetBook" });
    expect(lastCall.requestHeader.has("x-secret")).toBe(false);
  });

  test("what the request hook throws answers the request, before its body is read", async () => {
    await using server = await startRestServer(mounted, {
      requestHeaders: () => {
        throw new ConnectError("Send an API key.", Code.Unauthenticated);
      },
    });
    const answer = await server.ask("PUT", `/v1/${name}`, {
      body: "not json",
      headers: { "content-type": "application/json" },
    });
    expect([answer.status, answer.json.message]).toEqual([401, "Send an API key."]);
    expect(answer.headers["www-authenticate"]).toBe("Bearer");
  });

  test.each([
    { ours: 60_000, theirs: "5", least: 3_000, most: 5_000 },
    { ours: 4_000, theirs: "60", least: 2_000, most: 4_000 },
    { ours: 4_000, theirs: undefined, least: 2_000, most: 4_000 },
    { ours: undefined, theirs: "4.5", least: 2_000, most: 4_500 },
  ])("deadline $ours ms, X-Request-Timeout $theirs s", async ({ ours, theirs, least, most }) => {
    await using server = await startRestServer(mounted, { timeoutMs: () => ours });
    await server.ask("GET", `/v1/${name}`, { headers: theirs === undefined ? {} : { "x-request-timeout": theirs } });
    expect(lastCall.timeoutMs()).toBeGreaterThan(least);
    expect(lastCall.timeoutMs()).toBeLessThanOrEqual(most);
  });

  test("a call that takes longer than its deadline is answered with 504", async () => {
    await using server = await startRestServer(
      (router) =>
        router.service(library, {
          getBook: (_request: unknown, context: HandlerContext) =>
            new Promise((_resolve, reject) => {
              context.signal.addEventListener("abort", () => reject(context.signal.reason));
            }),
        } as object),
      { timeoutMs: () => 5 },
    );
    const answer = await server.ask("GET", `/v1/${name}`);
    expect([answer.status, answer.json.code]).toEqual([504, 4]);
  });

  test("a hook that fails does not keep the client waiting", async () => {
    await using server = await startRestServer(mounted, {
      onError: () => {
        throw new Error("the log is full");
      },
    });
    await expect(server.ask("GET", "/v1/nowhere")).rejects.toThrow("socket hang up");
  });

  test("a client that goes away while it sends its body leaves nothing behind", async () => {
    const reported = deferred<unknown>();
    await using server = await startRestServer(mounted, { requestHeaders: () => (reported.resolve(undefined), {}) });
    const options = { port: server.port, method: "PUT", path: `/v1/${name}`, headers: { "content-length": "100" } };
    const client = httpRequest({ ...options, headers: { ...options.headers, "content-type": "application/json" } });
    client.on("error", () => {});
    client.write("{");
    await reported.promise;
    client.destroy();
    expect((await server.ask("GET", `/v1/${name}`)).status).toBe(200);
  });

  test.each([
    { keepRunning: false, aborted: true },
    { keepRunning: true, aborted: false },
  ])("when the client goes away, keepRunning $keepRunning: cancelled $aborted", async ({ keepRunning, aborted }) => {
    const started = deferred<HandlerContext>();
    const release = deferred<void>();
    const gone = deferred<void>();
    await using server = await startRestServer(
      (router) =>
        router.service(library, {
          async getBook(_request: unknown, context: HandlerContext) {
            started.resolve(context);
            await Promise.race([
              release.promise,
              new Promise((resolve) => context.signal.addEventListener("abort", resolve)),
            ]);
            return {};
          },
        } as object),
      {
        keepRunning: () => {
          gone.resolve();
          return keepRunning;
        },
      },
    );
    const client = new AbortController();
    const asked = fetch(`http://127.0.0.1:${server.port}/v1/${name}`, { signal: client.signal });
    const context = await started.promise;
    client.abort();
    await expect(asked).rejects.toThrow();
    await gone.promise;
    expect(context.signal.aborted).toBe(aborted);
    release.resolve();
  });
});

test("unknown routes can be left to others", async () => {
  let passed: boolean | undefined;
  const transcoder = startTranscoder({ unknownRoute: "pass" });
  const request = { method: "GET", url: "/elsewhere", headers: {} };
  passed = await transcoder.handle(request as never, {} as never);
  expect(passed).toBe(false);
});

test("two services must not answer the same method and path", () => {
  expect(() => startTranscoder({ services: [library, library] })).toThrow("is bound twice");
});

function startTranscoder(options: object) {
  const transport = () => ({}) as never;
  return createTranscoder({ services: [library], transport, errorDomain: "library.example.com", ...options });
}
