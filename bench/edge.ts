import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { edgeConfig, type Endpoint } from "../gateway/envoy/edge-config.js";
import { rotateKeyFile } from "../runtime/identity/key-file.js";
import { packageRoot } from "../runtime/package-root.js";
import { startEnvoy } from "../tests/servers/envoy.js";
import { freePort } from "../tests/servers/free-port.js";
import { startServiceProcess } from "../tests/servers/service-process.js";
import { type Bench, type Figure, figure, median } from "./figure.js";
import { type Load, load, startBackend } from "./http-load.js";

const CONCURRENCY = 16;
const ROUNDS = 5;
const KEY = { "x-api-key": "the-operator-s-key-of-this-benchmark" };
/** As the edge's limits.yaml, but high enough for a load. */
const LIMITS = "domain: edge\ndescriptors: [{ key: tier, descriptors: [{ key: tenant, rate_limit: { unit: second, requests_per_unit: 1000000 } }] }]\n";

const endpointOf = (address: string): Endpoint => ({ host: address.split(":")[0]!, port: Number(address.split(":")[1]) });

async function run(): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), "ragents-bench-edge-"));
  const limits = join(folder, "limits.yaml");
  const keys = join(folder, "keys.json");
  const stops: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  try {
    writeFileSync(limits, LIMITS);
    const backend = await startBackend();
    stops.push(() => backend.process.kill());
    const limiter = await startServiceProcess("ratelimit", { RAGENTS_RATELIMIT_ENVOY_CONFIG: limits }, { built: true });
    stops.push(() => limiter.stop());
    writeFileSync(keys, rotateKeyFile(undefined, keys, Date.now()).keys);
    const authorization = await freePort();
    const own = { RAGENTS_ADMIN_KEY: KEY["x-api-key"], RAGENTS_IDENTITY_KEYS: keys, RAGENTS_AUTHORIZATION_PORT: String(authorization) };
    const gateway = await startServiceProcess("gateway", { RAGENTS_AGENT_ADDRESS: backend.grpc, ...own }, { built: true });
    stops.push(() => gateway.stop());

    const listen = { host: "127.0.0.1", edge: await freePort(), probes: await freePort(), admin: 0 };
    const endpoints = {
      gateway: { ...endpointOf(gateway.address), healthPort: endpointOf(gateway.probes).port },
      authorization: { host: "127.0.0.1", port: authorization },
      ratelimit: endpointOf(limiter.address),
    };
    const source = readFileSync(join(packageRoot, "gateway", "envoy", "envoy.yaml"), "utf8");
    const { admin: _, ...config } = parse(edgeConfig(source, { listen, endpoints })) as Record<string, unknown>;
    const envoy = await startEnvoy(stringify(config));
    stops.push(() => envoy.stop());

    const direct: Load[] = [];
    const through: Load[] = [];
    for (let round = 0; round <= ROUNDS; round += 1) {
      const [one, other] = [await load(`http://127.0.0.1:${listen.edge}/agents`, CONCURRENCY, KEY), await load(`http://${gateway.address}/agents`, CONCURRENCY, KEY)];
      // The first round warms up, and finds who is healthy.
      if (round === 0) continue;
      through.push(one);
      direct.push(other);
    }
    const both = (what: keyof Load) => ({ ours: median(through.map((one) => one[what])), peer: median(direct.map((one) => one[what])) });
    return [
      figure({ name: "REST unary through Envoy, with its checks, vs the gateway itself, c=16, p50", ...both("p50"), unit: "ms", better: "lower", aim: 0.4 }),
      figure({ name: "the same, p99", ...both("p99"), unit: "ms", better: "lower", aim: 0.4 }),
    ];
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
}

export const bench: Bench = { packages: ["@grpc/grpc-js"], run };
