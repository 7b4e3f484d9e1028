import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type FetchRules, fetchRulesOf, fetchRulesSchema } from "./fetch-rules.js";
import { PageFetcher, type PageRequest, type Resolve } from "./page-fetcher.js";

let server: Server;
let port: number;
let seen: { path: string; host: string; headers: IncomingMessage["headers"] }[] = [];

const answers: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
  "/page": (request, response) => {
    const headers = { "content-type": "text/html; charset=utf-8", etag: '"1"', "last-modified": "Sat, 01 Nov 2025 00:00:00 GMT" };
    const isKnown = request.headers["if-none-match"] === '"1"' || request.headers["if-modified-since"] === headers["last-modified"];
    response.writeHead(isKnown ? 304 : 200, headers).end(isKnown ? undefined : "<p>The pump.</p>");
  },
  "/docs/manual.md": (_, response) => response.end("# Manual"),
  "/moved": (_, response) => response.writeHead(301, { location: "/docs/manual.md" }).end(),
  "/round": (_, response) => response.writeHead(302, { location: "/round" }).end(),
  "/inside": (_, response) => response.writeHead(302, { location: `http://secret.test:${port}/page` }).end(),
  "/metadata": (_, response) => response.writeHead(302, { location: "http://169.254.169.254/latest/" }).end(),
  "/file": (_, response) => response.writeHead(302, { location: "file:///etc/passwd" }).end(),
  "/nonsense": (_, response) => response.writeHead(302, { location: "http://[" }).end(),
  "/missing": (_, response) => response.writeHead(404).end("no"),
  "/busy": (_, response) => response.writeHead(503).end("no"),
  "/never": () => {},
  "/slow": (_, response) => void response.writeHead(200).write("begun"),
  "/large": (_, response) => response.end("x".repeat(20_000)),
  "/endless": (_, response) => {
    const more = () => response.write("x".repeat(64_000), (error) => error ?? setImmediate(more));
    more();
  },
  "/packed": (_, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("x".repeat(1_000_000))),
};

beforeAll(async () => {
  server = createServer((request, response) => {
    seen.push({ path: request.url!, host: request.headers.host!, headers: request.headers });
    answers[request.url!.split("?")[0]!]!(request, response);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  port = (server.address() as AddressInfo).port;
});
beforeEach(() => {
  seen = [];
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** Everything leads to this machine; only docs.test may be fetched from in spite of that. */
const toLoopback: Resolve = async () => ["127.0.0.1"];

function fetcher(changed: Partial<FetchRules> = {}, resolve = toLoopback): PageFetcher {
  const rules = { origins: new Set([`http:${port}`]), privateHosts: new Set([`docs.test:${port}`]), maxBytes: 10_000, timeoutMs: 20_000, ...changed };
  return new PageFetcher(rules, ["local"], resolve);
}

const asked = (more: Partial<PageRequest> = {}): PageRequest => ({ tenant: "local", signal: new AbortController().signal, ...more });
const fetched = (path: string, request: Partial<PageRequest> = {}, by = fetcher()) => by.fetch(`http://docs.test:${port}${path}`, asked(request));

describe("a page", () => {
  test("comes with its type, and with what it can be asked for again by", async () => {
    expect(await fetched("/page?a=1")).toEqual({
      content: Buffer.from("<p>The pump.</p>"),
      contentType: "text/html; charset=utf-8",
      name: "page",
      version: { etag: '"1"', lastModified: "Sat, 01 Nov 2025 00:00:00 GMT" },
    });
    expect(seen).toEqual([{ path: "/page?a=1", host: `docs.test:${port}`, headers: expect.objectContaining({ "accept-encoding": "identity" }) }]);
  });

  test.each([{ etag: '"1"' }, { lastModified: "Sat, 01 Nov 2025 00:00:00 GMT" }])("that is as it was is not sent again: %j", async (known) => {
    expect(await fetched("/page", { known })).toBeUndefined();
  });

  test("is looked for where the server says that it is", async () => {
    expect(await fetched("/moved")).toMatchObject({ content: Buffer.from("# Manual"), name: "manual.md" });
    expect(seen.map(({ path }) => path)).toEqual(["/moved", "/docs/manual.md"]);
  });

  test("that cannot be had says why", async () => {
    await expect(fetched("/missing")).rejects.toMatchObject({ mayMend: false, message: expect.stringContaining("404") });
    await expect(fetched("/busy")).rejects.toMatchObject({ mayMend: true, message: expect.stringContaining("503") });
    await expect(fetched("/round")).rejects.toMatchObject({ mayMend: false, message: expect.stringContaining("5 redirects") });
    await expect(fetched("/nonsense")).rejects.toMatchObject({ mayMend: false, message: expect.stringContaining("no URL") });
    const nobody: Resolve = () => Promise.reject(Object.assign(new Error(), { code: "ENOTFOUND" }));
    await expect(fetched("/page", {}, fetcher({}, nobody))).rejects.toMatchObject({ mayMend: false, message: expect.stringContaining("docs.test cannot be found") });
    expect(seen).toHaveLength(9);
  });

  test.each(["/large", "/endless"])("that is too large is refused: %s", async (path) => {
    await expect(fetched(path)).rejects.toThrow(/more than 0.01 MB.*RAGENTS_INGEST_URL_MB/);
  });

  test("that is sent packed is refused: what it unpacks to is in no header", async () => {
    await expect(fetched("/packed")).rejects.toThrow(/as gzip/);
  });

  test.each(["/never", "/slow"])("that does not come in time is given up: %s", async (path) => {
    await expect(fetched(path, {}, fetcher({ timeoutMs: 50 }))).rejects.toMatchObject({ mayMend: false, message: expect.stringContaining("0.05 s") });
  });

  test("that nobody waits for any more is given up", async () => {
    const abort = new AbortController();
    const fetching = fetched("/never", { signal: abort.signal });
    await expect.poll(() => seen.length).toBe(1);
    abort.abort(new Error("the job was cancelled"));
    await expect(fetching).rejects.toThrow("the job was cancelled");
  });
});

describe("an address that is not public", () => {
  const notPublic = { message: expect.stringContaining("not public") };

  test("is not connected to, whatever name leads there", async () => {
    await expect(fetcher().fetch(`http://secret.test:${port}/page`, asked())).rejects.toMatchObject(notPublic);
    await expect(fetcher({ privateHosts: new Set() }, async () => ["8.8.8.8", "127.0.0.1"]).fetch(`http://docs.test:${port}/page`, asked())).rejects.toMatchObject(notPublic);
    expect(seen).toEqual([]);
  });

  test.each(["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "0.0.0.0"])("is not reached as http://%s", async (host) => {
    await expect(fetcher().fetch(`http://${host}:${port}/page`, asked())).rejects.toMatchObject(notPublic);
    expect(seen).toEqual([]);
  });

  test("is not reached by a redirect", async () => {
    await expect(fetched("/inside")).rejects.toMatchObject(notPublic);
    expect(seen.map(({ path }) => path)).toEqual(["/inside"]);
  });

  test("is not reached by a name that changes: what was checked is what is connected to", async () => {
    const resolved: string[] = [];
    // Were the name asked for again it would lead to where nobody listens.
    const changing: Resolve = async (host) => [resolved.push(host) === 1 ? "127.0.0.1" : "127.0.0.2"];
    expect(await fetched("/page", {}, fetcher({}, changing))).toMatchObject({ name: "page" });
    expect(resolved).toEqual(["docs.test"]);
  });

  test("is reached where an operator allowed its host, by tenants that may read the server's folders", async () => {
    expect(await fetched("/page")).toMatchObject({ name: "page" });
    await expect(fetched("/page", { tenant: "other" })).rejects.toMatchObject(notPublic);
    await expect(fetched("/page", {}, fetcher({ privateHosts: new Set(["docs.test:1"]) }))).rejects.toMatchObject(notPublic);
  });

  test("of a cloud's metadata is not reached even then", async () => {
    const anyPort = { origins: new Set([`http:${port}`, "http:80"]), privateHosts: new Set(["docs.test", "169.254.169.254"]) };
    await expect(fetched("/metadata", {}, fetcher(anyPort))).rejects.toMatchObject(notPublic);
    await expect(fetched("/page", {}, fetcher(anyPort, async () => ["169.254.169.254"]))).rejects.toMatchObject(notPublic);
  });
});

test("a host of which one address does not answer is reached by another", async () => {
  expect(await fetched("/page", {}, fetcher({}, async () => ["127.0.0.2", "127.0.0.1"]))).toMatchObject({ name: "page" });
});

describe("a URL is refused", () => {
  test.each([
    { url: () => `http://user:secret@docs.test:${port}/page`, problem: /credentials/ },
    { url: () => `http://docs.test:${port + 1}/page`, problem: /not http:/ },
    { url: () => `https://docs.test/page`, problem: /not https:443/ },
    { url: () => "file:///etc/passwd", problem: /not file/ },
    { url: () => `http://10.0.0.1:${port}/`, problem: /not public/ },
  ])("for $problem, before anything is resolved", async ({ url, problem }) => {
    const resolving = fetcher({}, () => expect.fail("it was resolved"));
    expect(resolving.refusal(new URL(url()), "local")).toMatch(problem);
    await expect(resolving.fetch(url(), asked())).rejects.toThrow(problem);
  });

  test("for what it redirects to as well", async () => {
    await expect(fetched("/file")).rejects.toThrow(/not file/);
  });
});

test("variables say what may be fetched; without any nothing is", () => {
  const rulesOf = (env: Record<string, string>) => fetchRulesOf(fetchRulesSchema.parse(env));
  expect(rulesOf({})).toBeUndefined();
  expect(rulesOf({ RAGENTS_INGEST_URLS: "https, http:8080", RAGENTS_INGEST_URL_PRIVATE_HOSTS: "Wiki.corp", RAGENTS_INGEST_URL_MB: "5" })).toEqual({
    origins: new Set(["https:443", "http:8080"]),
    privateHosts: new Set(["wiki.corp"]),
    maxBytes: 5_000_000,
    timeoutMs: 30_000,
  });
  expect(() => rulesOf({ RAGENTS_INGEST_URLS: "ftp" })).toThrow(/https:8443/);
});
