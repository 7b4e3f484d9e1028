import { mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, createClient } from "@connectrpc/connect";
import { credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { makeCertificates } from "../../cli/ca.js";
import { rotateIdentityKeys } from "../../cli/identity-keys.js";
import { CacheService } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { reasonOf } from "../../runtime/errors.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { packageRoot } from "../../runtime/package-root.js";
import { startEdgeProcess } from "../edge/edge-process.js";
import { requests } from "../edge/raw-request.js";
import { failureOf } from "../failure-of.js";
import { envoyFound, envoyProgram } from "../servers/envoy.js";
import { freePort } from "../servers/free-port.js";
import { type ServiceProcess, startServiceProcess } from "../servers/service-process.js";
import { cleanEnv, runProgram } from "../support/program.js";

const hasEnvoy = (await envoyFound()) && (await envoyProgram()) !== undefined;
const ADMIN_KEY = "the-operator-s-key-of-this-test-mesh-only";

describe("a gateway and a service in processes of their own, by TLS and signed identities", () => {
  const folder = mkdtempSync(join(tmpdir(), "ragents-processes-"));
  const path = (name: string) => join(folder, name);
  const running: ServiceProcess[] = [];
  let url: string;
  let cacheAddress: string;

  const tls = (service: string) => ({
    RAGENTS_TLS_CERT: path(`${service}.pem`),
    RAGENTS_TLS_KEY: path(`${service}-key.pem`),
    RAGENTS_TLS_CA: path("ca.pem"),
  });

  beforeAll(async () => {
    makeCertificates(folder, {});
    rotateIdentityKeys(path("keys.json"), { public: path("gateway-public.json") });
    // The cache calls nobody and cannot vouch for anyone. At first it has not heard of the gateway's key.
    rotateIdentityKeys(path("other.json"), { public: path("public.json") });
    const cache = await startServiceProcess("cache", { ...tls("cache"), RAGENTS_IDENTITY_KEYS: path("public.json") });
    running.unshift(cache);
    cacheAddress = cache.address;
    const gateway = await startServiceProcess("gateway", {
      ...tls("gateway"),
      RAGENTS_IDENTITY_KEYS: path("keys.json"),
      RAGENTS_ADMIN_KEY: ADMIN_KEY,
      RAGENTS_CACHE_ADDRESS: cache.address,
    });
    running.unshift(gateway);
    url = `http://${gateway.address}`;
  });
  afterAll(async () => {
    for (const service of running) await service.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const stats = (key?: string) => fetch(`${url}/cache/stats`, { headers: key === undefined ? {} : { "x-api-key": key } });

  test("a service reads the keys again when they change: before it knows the gateway's it believes nothing", async () => {
    expect((await stats(ADMIN_KEY)).status).toBe(401);
    renameSync(path("gateway-public.json"), path("public.json"));
    await expect.poll(async () => (await stats(ADMIN_KEY)).status, { timeout: 20_000, interval: 500 }).toBe(200);
  });

  test("a client with a key reaches the service through the gateway, one without does not", async () => {
    expect((await stats(ADMIN_KEY)).status).toBe(200);
    expect((await stats()).status).toBe(401);
  });

  test("a certificate of the mesh opens the connection, but is no identity", async () => {
    const [ca, cert, key] = ["ca.pem", "rag.pem", "rag-key.pem"].map((name) => readFileSync(path(name)));
    const transport = createGrpcTransport({
      address: cacheAddress,
      services: [],
      security: { credentials: credentials.createSsl(ca, key, cert) },
    });
    const error = await failureOf(createClient(CacheService, transport).getStats({}));
    transport.close();
    expect([error.code, reasonOf(error)]).toEqual([Code.Unauthenticated, "CREDENTIALS_MISSING"]);
  });

  test("without a certificate there is no connection", async () => {
    const transport = createGrpcTransport({ address: cacheAddress, services: [], security: { credentials: credentials.createSsl(readFileSync(path("ca.pem"))) } });
    const error = await failureOf(createClient(CacheService, transport).getStats({}, { timeoutMs: 3_000 }));
    transport.close();
    expect(error.code).toBe(Code.Unavailable);
  });

  test("a gateway that authenticates, but cannot vouch, does not start", async () => {
    const env = cleanEnv({ RAGENTS_ADMIN_KEY: ADMIN_KEY, RAGENTS_PORT: "0", RAGENTS_METRICS_PORT: "0", RAGENTS_PROCESS_METRICS: "false" });
    const run = (variables: Record<string, string>) =>
      runProgram(process.execPath, ["--import", "tsx", "gateway/main.ts"], { cwd: packageRoot, env: { ...env, ...variables } });
    for (const variables of [{}, { RAGENTS_IDENTITY_KEYS: path("public.json") }]) {
      const ended = await run(variables as Record<string, string>);
      expect(ended.code).toBe(1);
      expect(ended.stderr).toMatch(/^Authentication is configured, but nothing tells the services who calls: set RAGENTS_IDENTITY_KEYS/);
    }
    const short = await run({ RAGENTS_ADMIN_KEY: "short" });
    expect(short.stderr).toMatch(/RAGENTS_ADMIN_KEY: give at least 32 characters/);
  });

  test.skipIf(!hasEnvoy)("Envoy shows a certificate too, to services and to a gateway that takes nobody without one", async () => {
    const authorizationPort = await freePort();
    const gateway = await startServiceProcess("gateway", {
      ...tls("gateway"),
      RAGENTS_GATEWAY_TLS: "true",
      RAGENTS_AUTHORIZATION_PORT: String(authorizationPort),
      RAGENTS_IDENTITY_KEYS: path("keys.json"),
      RAGENTS_ADMIN_KEY: ADMIN_KEY,
      RAGENTS_CACHE_ADDRESS: cacheAddress,
    });
    running.unshift(gateway);
    const variables = {
      ...tls("edge"),
      RAGENTS_GATEWAY_TLS: "true",
      RAGENTS_GATEWAY_ADDRESS: gateway.address,
      RAGENTS_METRICS_PORT: gateway.probes.split(":")[1]!,
      RAGENTS_AUTHORIZATION_ADDRESS: `127.0.0.1:${authorizationPort}`,
      RAGENTS_CACHE_ADDRESS: cacheAddress,
    };
    const edge = await startEdgeProcess(variables, path("edge"));
    onTestFinished(() => edge.stop());
    const rest = requests(edge.address, edge.ca);
    const throughGateway = async () => (await rest("/cache/stats", { headers: { "x-api-key": ADMIN_KEY } })).status;
    await expect.poll(throughGateway, { timeout: 20_000, interval: 100 }).toBe(200);
    const security = { credentials: credentials.createSsl(edge.ca), callHeaders: () => [["x-api-key", ADMIN_KEY]] as const };
    const transport = createGrpcTransport({ address: edge.address, services: [CacheService], security });
    onTestFinished(() => transport.close());
    expect((await createClient(CacheService, transport).getStats({})).byKind).toBeDefined();
    for (const address of [gateway.address, `127.0.0.1:${authorizationPort}`]) {
      await expect(fetch(`http://${address}/health`)).rejects.toThrow("fetch failed");
      await expect(requests(address, readFileSync(path("ca.pem")))("/health")).rejects.toThrow(/certificate required|socket hang up|ECONNRESET/);
    }
  });
});
