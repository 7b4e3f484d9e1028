import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { stringify } from "yaml";
import { edgeConfig } from "../../gateway/envoy/edge-config.js";
import { CacheService } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { createGrpcTransport, type GrpcTransport } from "../../runtime/grpc-transport.js";
import { packageRoot } from "../../runtime/package-root.js";
import { type DnsServer, envoyResolver, startDns } from "../servers/dns.js";
import { envoyFound, type EnvoyServer, startEnvoy } from "../servers/envoy.js";
import { freePort } from "../servers/free-port.js";
import { endServerProcess, type ServerProcess, startServerProcess, untilReady } from "../servers/server-process.js";
import { cleanEnv } from "../support/program.js";

const NAME = "cache.mesh.test";
/** Linux answers on all of 127.0.0.0/8: each replica has the same port on an address of its own, as pods have. */
const ADDRESSES = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"] as const;

describe.skipIf(process.platform !== "linux" || !(await envoyFound()))("Envoy in front of several replicas of a service", () => {
  const replicas = new Map<string, ServerProcess>();
  let dns: DnsServer;
  let authorization: Server;
  let envoy: EnvoyServer;
  let transport: GrpcTransport;
  let port: number;

  async function startReplica(address: string): Promise<void> {
    const env = cleanEnv({ RAGENTS_HOST: address, RAGENTS_CACHE_PORT: String(port), RAGENTS_METRICS_PORT: String(port + 1), RAGENTS_PROCESS_METRICS: "false" });
    const replica = startServerProcess(process.execPath, ["--import", "tsx", "services/cache/main.ts"], { cwd: packageRoot, env });
    replicas.set(address, replica);
    await untilReady(replica, async () => (await fetch(`http://${address}:${port + 1}/readyz`)).ok);
  }

  beforeAll(async () => {
    port = await freePort();
    [dns] = await Promise.all([startDns(), ...ADDRESSES.slice(0, 3).map(startReplica)]);
    dns.set(NAME, ADDRESSES.slice(0, 3));
    authorization = createServer((_, response) => response.end()).listen(0, "127.0.0.1");
    const listen = { host: "127.0.0.1", edge: await freePort(), probes: await freePort(), admin: 0 };
    const source = readFileSync(join(packageRoot, "gateway", "envoy", "envoy.yaml"), "utf8");
    const config = JSON.parse(
      edgeConfig(source, {
        listen,
        endpoints: { cache: { host: NAME, port }, authorization: { host: "127.0.0.1", port: (authorization.address() as AddressInfo).port } },
      }),
    );
    const { admin: _, ...rest } = { ...config, typed_dns_resolver_config: envoyResolver(dns.port) };
    envoy = await startEnvoy(stringify(rest));
    transport = createGrpcTransport({ address: `127.0.0.1:${listen.edge}`, services: [] });
    await vi.waitFor(async () => expect((await hosts()).filter(({ healthy }) => healthy)).toHaveLength(3), { timeout: 20_000, interval: 100 });
  }, 90_000);
  afterAll(async () => {
    transport?.close();
    await envoy?.stop();
    dns?.stop();
    authorization?.close();
    authorization?.closeAllConnections();
    await Promise.all([...replicas.values()].map(endServerProcess));
  });

  /** The replicas that Envoy knows, what they got and whether they get more. */
  async function hosts(): Promise<{ address: string; requests: number; healthy: boolean }[]> {
    const { cluster_statuses: clusters } = (await (await fetch(`${envoy.admin}/clusters?format=json`)).json()) as any;
    const { host_statuses: found = [] } = clusters.find(({ name }: { name: string }) => name === "cache");
    return found.map(({ address, stats, health_status: health }: any) => ({
      address: address.socket_address.address,
      requests: Number(stats.find(({ name }: { name: string }) => name === "rq_total").value ?? 0),
      healthy: Object.keys(health).every((key) => key === "eds_health_status"),
    }));
  }

  /** Makes calls, 16 at a time, until there were `count` or `until` resolves; resolves to how many failed. */
  async function load(count: number, until?: Promise<unknown>): Promise<{ calls: number; failed: unknown[] }> {
    const client = createClient(CacheService, transport);
    const failed: unknown[] = [];
    let calls = 0;
    let over = false;
    void until?.then(() => (over = true));
    const worker = async () => {
      while (!over && calls < count) {
        calls += 1;
        await client.getStats({}, { timeoutMs: 5_000 }).catch((error: unknown) => failed.push(error));
      }
    };
    await Promise.all(Array.from({ length: 16 }, worker));
    return { calls, failed };
  }

  /** What share of `count` calls each replica gets, by its address. */
  async function shares(count: number): Promise<Record<string, number>> {
    const before = new Map((await hosts()).map(({ address, requests }) => [address, requests]));
    const { calls, failed } = await load(count);
    expect(failed.map(String)).toEqual([]);
    return Object.fromEntries((await hosts()).map(({ address, requests }) => [address, (requests - (before.get(address) ?? 0)) / calls]));
  }

  test("gives each its share, within 10 %", async () => {
    const given = await shares(3_000);
    expect(Object.keys(given).sort()).toEqual(ADDRESSES.slice(0, 3));
    for (const share of Object.values(given)) expect(Math.abs(share * 3 - 1)).toBeLessThan(0.1);
  });

  test("lets a new one have its share within 10 s", async () => {
    await startReplica(ADDRESSES[3]);
    dns.set(NAME, ADDRESSES);
    // Cold at first: what it cannot take the others get.
    const share = async () => ((await shares(300))[ADDRESSES[3]] ?? 0) * 4;
    await expect.poll(share, { timeout: 10_000, interval: 100 }).toBeGreaterThan(0.8);
  }, 60_000);

  test("loses no idempotent call with one that is killed", async () => {
    let resolve = () => {};
    const loaded = load(Number.POSITIVE_INFINITY, new Promise<void>((done) => (resolve = done)));
    const requests = async () => (await hosts()).find(({ address }) => address === ADDRESSES[3])!.requests;
    const before = await requests();
    await expect.poll(requests, { timeout: 10_000, interval: 20 }).toBeGreaterThan(before + 20);
    await replicas.get(ADDRESSES[3])!.signal("SIGKILL");
    await replicas.get(ADDRESSES[3])!.ended;
    await expect.poll(async () => (await hosts()).find(({ address }) => address === ADDRESSES[3])?.healthy ?? false, { timeout: 10_000, interval: 100 }).toBe(false);
    resolve();
    const { calls, failed } = await loaded;
    // Envoy repeats what had no answer yet; the client itself what was cut off between an answer's first bytes and its last.
    expect(failed.map(String)).toEqual([]);
    expect(calls).toBeGreaterThan(100);
  }, 60_000);

  test("leaves out one that hangs, and takes it back when it goes on", async () => {
    const hangs = ADDRESSES[0];
    /** Its share of a hundred calls; undefined when one of them failed. */
    const share = async () => (await shares(100).catch(() => undefined))?.[hangs];
    await expect.poll(share, { timeout: 20_000, interval: 100 }).toBeGreaterThan(0.15);
    await replicas.get(hangs)!.signal("SIGSTOP");
    await expect.poll(share, { timeout: 40_000, interval: 100 }).toBe(0);
    await replicas.get(hangs)!.signal("SIGCONT");
    await expect.poll(share, { timeout: 40_000, interval: 100 }).toBeGreaterThan(0.15);
  }, 120_000);
});
