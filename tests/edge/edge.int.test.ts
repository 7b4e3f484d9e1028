import { execFile } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { promisify } from "node:util";
import { Code, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createRagClient } from "../../clients/rag/index.js";
import { AgentService } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { CacheService } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { reasonOf } from "../../runtime/errors.js";
import { packageRoot } from "../../runtime/package-root.js";
import { failureOf } from "../failure-of.js";
import { type PageServer, startPages, tryMeshIn } from "../gateway/browser-pages.js";
import { chromiumFound, startChromium } from "../servers/chromium.js";
import { envoyFound, envoyProgram } from "../servers/envoy.js";
import { freePort } from "../servers/free-port.js";
import { makePythonStubs, pythonWithGrpc } from "../servers/python-grpc.js";
import { jobEnd, startTestMesh, type TestMesh } from "../support/mesh.js";
import { type EdgeProcess, startEdgeProcess, variablesOf } from "./edge-process.js";
import { exchange, type RequestOptions, requests, type Answer } from "./raw-request.js";

const ADMIN_KEY = "the-operator-s-key-of-this-test-mesh-only";
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
/** A tier for keys that are soon over their limit. */
const TINY_TIER = "\n  - { key: tier, value: tiny, descriptors: [{ key: tenant, rate_limit: { unit: hour, requests_per_unit: 3 } }] }\n";

const program = (await envoyFound()) ? await envoyProgram() : undefined;
const python = program === undefined ? undefined : await pythonWithGrpc();
const hasBrowser = program !== undefined && (await chromiumFound());
const run = promisify(execFile);

describe.skipIf(program === undefined)("a mesh behind a real Envoy, by TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "ragents-edge-"));
  let mesh: TestMesh;
  let edge: EdgeProcess;
  let call: (path: string, options?: RequestOptions) => Promise<Answer>;
  let slow: Promise<{ text: string; closed: boolean }>;
  let pages: PageServer;
  const opened: (() => void)[] = [];

  beforeAll(async () => {
    const limits = join(folder, "limits.yaml");
    writeFileSync(limits, readFileSync(join(packageRoot, "gateway", "envoy", "limits.yaml"), "utf8") + TINY_TIER);
    const authorizationPort = await freePort();
    pages = await startPages();
    mesh = await startTestMesh({
      RAGENTS_ADMIN_KEY: ADMIN_KEY,
      RAGENTS_AUTHORIZATION_PORT: String(authorizationPort),
      RAGENTS_RATELIMIT_ENVOY_CONFIG: limits,
      RAGENTS_CORS_ORIGINS: pages.origin,
    });
    const documents = [{ id: "otter", text: "The otter lives in a holt by the river and eats eels." }];
    const { body } = await mesh.rest("POST", "/v1/collections/default/documents:ingest", { documents }, bearer(ADMIN_KEY));
    await jobEnd(mesh, body.id, bearer(ADMIN_KEY));
    edge = await startEdgeProcess(variablesOf(mesh, authorizationPort), folder);
    call = requests(edge.address, edge.ca);
    await vi.waitFor(async () => expect((await call("/health")).status).toBe(200), { timeout: 20_000, interval: 100 });
    // A client that sends its headers a little at a time, or never: looked at again at the end.
    slow = exchange(edge.address, edge.ca, "GET /health HTTP/1.1\r\nhost: localhost\r\nx-a: ");
  }, 120_000);
  afterAll(async () => {
    for (const close of opened) close();
    await edge?.stop();
    await mesh?.stop();
    pages?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function makeKey(request: object): Promise<string> {
    const { status, body } = await mesh.rest("POST", "/v1/keys", request, bearer(ADMIN_KEY));
    expect(status, JSON.stringify(body)).toBe(200);
    return body.secret;
  }
  const grpc = (apiKey?: string) => {
    const client = createRagClient({ address: edge.address, apiKey, tls: { ca: edge.ca } });
    opened.push(() => client.close());
    return client;
  };
  const transportOf = {
    gRPC: () => createGrpcTransport({ baseUrl: `https://${edge.address}`, nodeOptions: { ca: edge.ca } }),
    "gRPC-Web": () => createGrpcWebTransport({ baseUrl: `https://${edge.address}`, httpVersion: "2", nodeOptions: { ca: edge.ca } }),
    "gRPC-Web over HTTP/1.1": () => createGrpcWebTransport({ baseUrl: `https://${edge.address}`, httpVersion: "1.1", nodeOptions: { ca: edge.ca } }),
    Connect: () => createConnectTransport({ baseUrl: `https://${edge.address}`, httpVersion: "2", nodeOptions: { ca: edge.ca } }),
  } satisfies Record<string, () => Transport>;

  test.each(Object.entries(transportOf))("serves a %s client with a key, its streams too, and refuses it without one", async (_, open) => {
    const transport = open();
    const rag = createClient(RagService, transport);
    expect((await rag.listCollections({}, { headers: bearer(ADMIN_KEY) })).collections.map(({ id }) => id)).toContain("default");
    const { job } = await rag.ingestDocuments({ collection: "default", documents: [{ id: "crane", text: "The crane dances." }] }, { headers: bearer(ADMIN_KEY) });
    let states = 0;
    for await (const _update of rag.watchJob({ job: job!.id }, { headers: bearer(ADMIN_KEY) })) states += 1;
    expect(states).toBeGreaterThan(0);
    const refused = await failureOf(rag.listCollections({}));
    expect([refused.code, reasonOf(refused)]).toEqual([Code.Unauthenticated, "CREDENTIALS_MISSING"]);
  });

  test("serves a grpc-js client with a key, and tells one with a wrong key why not", async () => {
    expect((await grpc(ADMIN_KEY).listCollections({})).collections.length).toBeGreaterThan(0);
    const refused = await failureOf(grpc(`ragents_${"a".repeat(12)}_${"b".repeat(43)}`).listCollections({}));
    expect([refused.code, reasonOf(refused)]).toEqual([Code.Unauthenticated, "CREDENTIALS_INVALID"]);
  });

  test("serves curl by HTTP/2, with RateLimit headers", async () => {
    const ca = join(folder, "edge", "ca.pem");
    const { stdout } = await run("curl", ["-sS", "--http2", "-i", "--cacert", ca, "-H", `X-API-Key: ${ADMIN_KEY}`, `https://${edge.address}/v1/collections`]);
    expect(stdout).toMatch(/^HTTP\/2 200/);
    expect(stdout).toMatch(/^ratelimit-limit: 3000, 3000;w=60\r$/m);
    expect(stdout).toContain('"id":"default"');
  });

  test("serves OpenAI's client, its streams too", async () => {
    const script = `
      import OpenAI from "openai";
      const client = new OpenAI({ baseURL: "https://${edge.address}/v1" });
      const asked = { model: "simple", messages: [{ role: "user", content: "What does the otter eat?" }] };
      const { choices } = await client.chat.completions.create(asked);
      let text = "";
      for await (const { choices: [choice] } of await client.chat.completions.create({ ...asked, stream: true })) text += choice?.delta.content ?? "";
      console.log(JSON.stringify([choices[0].message.content, text]));`;
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: join(folder, "edge", "ca.pem"), OPENAI_API_KEY: ADMIN_KEY };
    const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", script], { cwd: packageRoot, env });
    const [whole, streamed] = JSON.parse(stdout);
    expect(whole).toContain("eels");
    expect(streamed).toBe(whole);
  });

  test.skipIf(python === undefined)("serves a Python gRPC client, by its documented sample", async () => {
    const stubs = join(folder, "stubs");
    await makePythonStubs(python!, stubs);
    const ask = (key: string) => {
      const env = { ...process.env, PYTHONPATH: stubs, RAGENTS_ADDRESS: edge.address, RAGENTS_CA: join(folder, "edge", "ca.pem"), RAGENTS_API_KEY: key };
      return run(python!, ["clients/python/ask.py", "What does the otter eat?"], { cwd: packageRoot, env });
    };
    const { stdout, stderr } = await ask(ADMIN_KEY);
    expect(stdout).toMatch(/eels[\s\S]*\n\[1\] otter\n$/);
    expect(stderr).toMatch(/^agents: .*simple/m);
    await expect(ask("wrong")).rejects.toMatchObject({ stderr: expect.stringMatching(/^UNAUTHENTICATED: The API key or token is not valid/m) });
  });

  test.skipIf(!hasBrowser)("serves a page in a browser, by Connect and gRPC-Web, with a key", async () => {
    const { publicKey } = new X509Certificate(readFileSync(join(folder, "edge", "edge.pem")));
    const trustedKeys = [createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64")];
    const browser = await startChromium({ trustedKeys });
        const url = `https://${edge.address}`;
    for (const protocol of ["connect", "grpc-web"] as const) {
      const { agents, text, response, error } = await tryMeshIn(browser, pages.origin, { url, protocol, apiKey: ADMIN_KEY });
      expect([agents, response, error]).toEqual([expect.arrayContaining(["simple"]), expect.stringContaining("eels"), expect.stringMatching(/not_found.*none/)]);
      expect(text).toBe(response);
      await expect(tryMeshIn(browser, pages.origin, { url, protocol })).rejects.toThrow(/unauthenticated/);
    }
    await browser.close();
  });

  test("answers REST without a key as the gateway does", async () => {
    const { status, headers, text } = await call("/v1/collections");
    expect([status, headers["www-authenticate"], JSON.parse(text).details[0].reason]).toEqual([401, "Bearer", "CREDENTIALS_MISSING"]);
  });

  test("lets nobody say who they are but by their key", async () => {
    const key = await makeKey({ tenant: "acme", roles: ["reader"] });
    const forged = { "x-ragents-identity": "forged", "x-ragents-tenant": "local", "x-ragents-tier": "gold", "x-envoy-max-retries": "9" };
    expect(JSON.parse((await call("/v1/identity", { headers: { ...forged, ...bearer(key) } })).text)).toMatchObject({ tenant: "acme", roles: ["READER"] });
    const rag = createClient(RagService, transportOf.gRPC());
    expect((await rag.listCollections({}, { headers: { ...forged, ...bearer(key) } })).collections).toHaveLength(1);
    const refused = await failureOf(rag.listCollections({}, { headers: forged }));
    expect(refused.code).toBe(Code.Unauthenticated);
  });

  test("refuses a tenant over its limit, by REST with 429 and by gRPC with RESOURCE_EXHAUSTED, and nobody else", async () => {
    const key = await makeKey({ tenant: "tiny", roles: ["reader"], tier: "tiny" });
    const client = grpc(key);
    for (let i = 0; i < 3; i += 1) expect((await call("/v1/collections", { headers: bearer(key) })).status).toBe(200);
    const refused = await call("/v1/collections", { headers: bearer(key) });
    expect(refused.status).toBe(429);
    expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
    expect(refused.headers).toMatchObject({ "ratelimit-limit": "3, 3;w=3600", "ratelimit-remaining": "0" });
    const exhausted = await failureOf(client.listCollections({}));
    expect(exhausted.code).toBe(Code.ResourceExhausted);
    expect((await call("/v1/collections", { headers: bearer(ADMIN_KEY) })).status).toBe(200);
  });

  test.each([
    ["TLSv1.1", false],
    ["TLSv1", false],
    ["TLSv1.2", true],
    ["TLSv1.3", true],
  ] as const)("by %s: %s", async (version, works) => {
    const [host, port] = edge.address.split(":");
    const protocol = await new Promise<string>((resolve) => {
      const options = { host: host!, port: Number(port), ca: edge.ca, ciphers: "DEFAULT@SECLEVEL=0", minVersion: version, maxVersion: version } as const;
      const socket = connectTls(options, () => {
        resolve(socket.getProtocol() ?? "");
        socket.destroy();
      });
      socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
    if (works) expect(protocol).toBe(version);
    else expect(protocol).toMatch(/ALERT_PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|ECONNRESET/);
  });

  test("refuses headers and bodies that are too large", async () => {
    expect((await call("/health", { headers: { "x-large": "a".repeat(17 * 1024) } })).status).toBe(431);
    const many = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`x-${i}`, "1"]));
    expect((await call("/health", { headers: many })).status).toBe(431);
    const large = JSON.stringify({ query: "a".repeat(5 * 1024 * 1024) });
    const { status } = await call("/query", { method: "POST", headers: { ...bearer(ADMIN_KEY), "content-type": "application/json" }, body: large });
    expect(status).toBe(413);
    const tooLarge = await failureOf(grpc(ADMIN_KEY).retrieve({ collection: "default", query: "a".repeat(40 * 1024 * 1024) }));
    expect([Code.ResourceExhausted, Code.InvalidArgument]).toContain(tooLarge.code);
  });

  test.concurrent.each([
    ["both lengths", "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["two lengths", "content-length: 4\r\ncontent-length: 60\r\n\r\n"],
    ["a chunked that is none", "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"],
    ["a blank before the colon", "transfer-encoding : chunked\r\n\r\n0\r\n\r\n"],
    ["a length that is none", "content-length: +4\r\n\r\n"],
    ["a chunk's size that is none", "transfer-encoding: chunked\r\n\r\nzz\r\n"],
  ])("does not let a second request pass behind one with %s", async (_, rest) => {
    const smuggled = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n";
    const { text, closed } = await exchange(edge.address, edge.ca, `POST /query HTTP/1.1\r\nhost: localhost\r\n${rest}${smuggled}`, 5_000);
    const statuses = [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status));
    expect([statuses, closed]).toEqual([[expect.toSatisfy((status: number) => status === 400 || status === 501)], true]);
    expect(text).not.toContain("openapi");
  });

  test.each([
    "/../../../etc/passwd",
    "/v1/..%2f..%2f..%2fetc%2fpasswd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/collections/..%2f..%2fhealth",
    "/v1/collections/default/documents/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/v1/collections/default/documents/%2e%2e%2f%2e%2e%2fkeys",
    "/v1/collections/default/documents/a%00b",
    "/v1/collections/%252e%252e%252fkeys",
    "/stats",
    "/clusters",
    "/config_dump",
    "/ready",
    "/metrics",
    "/ragents.cache.v1.CacheService%2fClear",
    "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
  ])("finds nothing at %s", async (path) => {
    const { status, text } = await call(path, { headers: bearer(ADMIN_KEY) });
    expect([400, 404, 405]).toContain(status);
    expect(text).not.toMatch(/root:|healthy|cluster\.|"api_keys"/);
  });

  test("asks for an RPC's role whatever way its path is written", async () => {
    const key = await makeKey({ tenant: "acme", roles: ["reader"] });
    const cache = createClient(CacheService, createGrpcTransport({ baseUrl: `https://${edge.address}/ragents.rag.v1.RagService/..`, nodeOptions: { ca: edge.ca } }));
    const refused = await failureOf(cache.clear({}, { headers: bearer(key) }));
    expect([refused.code, reasonOf(refused)]).toEqual([Code.PermissionDenied, "ROLE_MISSING"]);
  });

  test("does not serve Envoy's own protocols, nor the gateway's port of identities", async () => {
    for (const path of ["/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit", "/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"]) {
      const { status, headers } = await call(path, { method: "POST", headers: { ...bearer(ADMIN_KEY), "content-type": "application/grpc" } });
      expect([path, status === 200 ? headers["grpc-status"] : status]).toEqual([path, expect.toSatisfy((one) => one !== "0" && one !== undefined)]);
      expect(JSON.stringify(headers)).not.toContain("x-ragents-identity");
    }
  });

  test("restarts hot: not one call fails, of those that wait and of those that come", async () => {
    const rag = grpc(ADMIN_KEY);
    const agent = createClient(AgentService, transportOf.Connect());
    const failures: unknown[] = [];
    let done = false;
    let calls = 0;
    const repeat = async (work: () => Promise<unknown>) => {
      while (!done) {
        await work().catch((error: unknown) => failures.push(error));
        calls += 1;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    const load = [
      repeat(() => rag.listCollections({})),
      repeat(() => agent.listAgents({}, { headers: bearer(ADMIN_KEY) })),
      repeat(async () => expect((await call("/v1/collections", { headers: bearer(ADMIN_KEY) })).status).toBe(200)),
    ];
    edge.restart();
    await expect.poll(() => edge.output(), { timeout: 30_000, interval: 20 }).toContain("A new Envoy has taken over");
    expect(edge.output(), "it waits for nothing of the old one").not.toContain("The old Envoy has ended");
    await expect.poll(() => edge.output(), { timeout: 30_000, interval: 100 }).toContain("The old Envoy has ended");
    const info = (await (await fetch(`${edge.admin}/server_info`)).json()) as { command_line_options: { restart_epoch: number } };
    expect(info.command_line_options.restart_epoch).toBe(1);
    done = true;
    await Promise.all(load);
    expect(failures).toEqual([]);
    expect(calls).toBeGreaterThan(20);
    expect(edge.output()).not.toMatch(/\[(error|critical)\]/);
  }, 60_000);

  test("ends a connection whose request never comes to its end", async () => {
    const { text, closed } = await slow;
    expect(closed).toBe(true);
    expect(text).toMatch(/^(HTTP\/1\.1 408|$)/);
  }, 30_000);

  test("has written a line for each request, and no key, query or body in any", async () => {
    await call(`/v1/collections?canary=canaryquery`, { headers: bearer(ADMIN_KEY) });
    await expect.poll(() => edge.output().split("\n").filter((line) => line.includes('"path":"/v1/collections"')).length, { timeout: 15_000 }).toBeGreaterThan(3);
    const lines = edge.output().split("\n").filter((line) => line.startsWith("{"));
    expect(JSON.parse(lines[0]!)).toMatchObject({ event: "request", method: "GET", status: 200 });
    expect(edge.output()).not.toMatch(/the-operator-s-key|_[A-Za-z0-9]{43}|canaryquery|forged/);
  }, 30_000);
});
