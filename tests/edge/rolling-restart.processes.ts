import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { stringify } from "yaml";
import { followQuery } from "../../clients/agent/index.js";
import { edgeConfig } from "../../gateway/envoy/edge-config.js";
import { AgentService } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { packageRoot } from "../../runtime/package-root.js";
import { DOCUMENTS, startConversations } from "../cluster/conversations.js";
import { type DnsServer, envoyResolver, startDns } from "../servers/dns.js";
import { envoyFound, type EnvoyServer, startEnvoy } from "../servers/envoy.js";
import { freePort } from "../servers/free-port.js";
import { type OpenAiDouble, startOpenAiDouble } from "../servers/openai-double.js";
import { describePostgres } from "../servers/postgres.js";
import { type RedisServer, redisFound, startRedis } from "../servers/redis.js";
import { endServerProcess, type ServerProcess, startServerProcess, untilReady } from "../servers/server-process.js";
import { cleanEnv, runProgram } from "../support/program.js";

const NAME = "replicas.mesh.test";
const SERVICES = ["cache", "checkpoint", "ratelimit", "rag", "agent"] as const;
const EATEN: Record<string, string> = { kingfisher: "fish", otter: "eels", heron: "frogs" };
/** How long a replica that is told to stop waits for its runs, in seconds: enough for the short answers, also on a busy machine. */
const HANDOVER_S = 5;
/** Takes twice as long to say. */
const LONG_ANSWER = Array.from({ length: 100 }, (_, word) => `word-${word}`).join(" ");

/** A process with a replica of each service, on an address of its own: Linux answers on all of 127.0.0.0/8. */
interface Machine {
  readonly address: string;
  readonly server: ServerProcess;
}

const possible = process.platform === "linux" && (await redisFound()) && (await envoyFound());

describePostgres("three replicas of each service behind Envoy, while people talk", (postgres) => {
  describe.skipIf(!possible)("and streams are read", () => {
    let redis: RedisServer;
    let model: OpenAiDouble;
    let dns: DnsServer;
    let envoy: EnvoyServer;
    let edge: string;
    let env: Record<string, string>;
    let machines: Machine[] = [];
    const started: ServerProcess[] = [];

    beforeAll(async () => {
      const built = await runProgram(process.execPath, ["scripts/setup.mjs"], { cwd: packageRoot, env: cleanEnv() });
      expect(built.code, built.stderr).toBe(0);
      redis = await startRedis();
      dns = await startDns();
      model = await startOpenAiDouble(({ messages }) => {
        const asked = messages.findLast(({ role }) => role === "user")!.content;
        if (asked.includes("at length")) return { text: LONG_ANSWER, betweenMs: 100 };
        return { text: `It eats ${EATEN[[...asked.matchAll(/does the (\w+) eat/g)].at(-1)![1]!]}.`, betweenMs: 5 };
      });
      const ports = Object.fromEntries(await Promise.all([...SERVICES, "gateway", "authorization", "metrics", "edge", "probes"].map(async (name) => [name, await freePort()] as const)));
      env = {
        MESH_DNS: String(dns.port),
        RAGENTS_ALLOW_ANONYMOUS: "true",
        RAGENTS_PORT: String(ports["gateway"]),
        RAGENTS_AUTHORIZATION_PORT: String(ports["authorization"]),
        RAGENTS_METRICS_PORT: String(ports["metrics"]),
        RAGENTS_CACHE_URL: redis.url,
        RAGENTS_RATELIMIT_URL: redis.url,
        RAGENTS_CHECKPOINT_URL: postgres().url,
        RAGENTS_RAG_URL: postgres().url,
        RAGENTS_AGENT_HANDOVER_S: String(HANDOVER_S),
        OPENAI_BASE_URL: model.baseUrl,
        OPENAI_MODEL: "double",
        ...Object.fromEntries(SERVICES.flatMap((name) => [[`RAGENTS_${name.toUpperCase()}_PORT`, String(ports[name])], [`RAGENTS_${name.toUpperCase()}_ADDRESS`, `dns:///${NAME}:${ports[name]}`]])),
      };
      machines = await Promise.all([startMachine(), startMachine(), startMachine()]);
      dns.set(NAME, machines.map(({ address }) => address));

      const endpoint = (name: string) => ({ host: NAME, port: ports[name]! });
      const config = JSON.parse(
        edgeConfig(readFileSync(join(packageRoot, "gateway", "envoy", "envoy.yaml"), "utf8"), {
          listen: { host: "127.0.0.1", edge: ports["edge"]!, probes: ports["probes"]!, admin: 0 },
          endpoints: {
            ...Object.fromEntries([...SERVICES, "authorization"].map((name) => [name, endpoint(name)])),
            gateway: { ...endpoint("gateway"), healthPort: ports["metrics"]! },
          },
        }),
      );
      for (const { cluster_type: type, health_checks: checks = [] } of config.static_resources.clusters) {
        if (type !== undefined) type.typed_config.dns_refresh_rate = "0.2s";
        for (const check of checks) Object.assign(check, { interval: "0.2s", no_traffic_interval: "0.2s" });
      }
      const { admin: _, ...rest } = { ...config, typed_dns_resolver_config: envoyResolver(dns.port) };
      envoy = await startEnvoy(stringify(rest));
      edge = `127.0.0.1:${ports["edge"]}`;
      await untilEnvoyUses(machines);
    }, 120_000);
    afterAll(async () => {
      await envoy?.stop();
      await Promise.all(started.map(endServerProcess));
      dns?.stop();
      await model?.close();
      await redis?.stop();
    });

    async function startMachine(): Promise<Machine> {
      const address = `127.0.0.${started.length + 2}`;
      const server = startServerProcess(process.execPath, ["tests/edge/machine.mjs"], { cwd: packageRoot, env: cleanEnv({ ...env, RAGENTS_HOST: address }) });
      started.push(server);
      await untilReady(server, async () => (await fetch(`http://${address}:${env["RAGENTS_METRICS_PORT"]}/readyz`)).ok, 60_000);
      return { address, server };
    }

    /** Resolves when every cluster of Envoy has these machines, all of them healthy, and no others. */
    async function untilEnvoyUses(wanted: readonly Machine[]): Promise<void> {
      const addresses = wanted.map(({ address }) => address).sort();
      const used = async () => {
        const { cluster_statuses: clusters } = (await (await fetch(`${envoy.admin}/clusters?format=json`)).json()) as any;
        return [...SERVICES, "gateway", "authorization"].map((name) => {
          const { host_statuses: hosts = [] } = clusters.find((cluster: { name: string }) => cluster.name === name);
          const healthy = hosts.filter(({ health_status: health }: any) => Object.keys(health).every((key) => key === "eds_health_status"));
          return healthy.length < hosts.length ? "not all healthy" : healthy.map(({ address }: any) => address.socket_address.address).sort().join();
        });
      };
      const wantedEverywhere = Array.from({ length: SERVICES.length + 2 }, () => addresses.join());
      await vi.waitFor(async () => expect(await used()).toEqual(wantedEverywhere), { timeout: 30_000, interval: 50 });
    }

    /** As a Deployment does it: the new one is there first, and nobody is sent to the old one when it is told to end. */
    async function replace(old: Machine, fresh: Machine): Promise<void> {
      machines = [...machines.filter((machine) => machine !== old), fresh];
      dns.set(NAME, machines.map(({ address }) => address));
      await untilEnvoyUses(machines);
      await old.server.signal("SIGTERM");
    }

    /** Reads answers that take longer than a replica waits, one after another, through Envoy. */
    function followStreams() {
      const transport = createGrpcTransport({ address: edge, services: [AgentService] });
      const client = createClient(AgentService, transport);
      let resumed = 0;
      const counted = { ...client, resumeStream: (...args: Parameters<typeof client.resumeStream>) => ((resumed += 1), client.resumeStream(...args)) };
      const texts: string[] = [];
      let stopping = false;
      const follow = async () => {
        while (!stopping) {
          let text = "";
          for await (const { event } of followQuery(counted, { query: "Say at length what the heron eats.", idempotencyKey: randomUUID(), configOverrides: { bypassCache: true } })) {
            if (event.case === "token") text += event.value.text;
            if (event.case === "restarted") text = "";
            if (event.case === "result") expect(event.value.response).toBe(text);
          }
          texts.push(text);
        }
      };
      const followers = Promise.all([follow(), follow(), follow(), follow()]);
      // Looked at when it is waited for; a failure before that is not unhandled.
      followers.catch(() => {});
      return {
        async stop() {
          stopping = true;
          await followers.finally(() => transport.close());
          return { texts, resumed };
        },
      };
    }

    test("no call fails and no stream is lost while all are replaced, one after another", async () => {
      const post = async (path: string, body: unknown) => (await fetch(`http://${edge}${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })).json();
      const job = (await post("/v1/collections/default/documents:ingest", { documents: DOCUMENTS })) as { id: string };
      await expect.poll(async () => (await (await fetch(`http://${edge}/v1/jobs/${job.id}`)).text()).includes('"SUCCEEDED"'), { timeout: 20_000 }).toBe(true);

      const conversations = startConversations(`http://${edge}`, { people: 4, pauseMs: 200, bypassCache: true });
      const streams = followStreams();
      let next = startMachine();
      for (const [i, machine] of machines.entries()) {
        const before = conversations.answered();
        await replace(machine, await next);
        // The next one gets ready while this one ends. Looked at when it is needed; a failure before that is not unhandled.
        if (i < 2) (next = startMachine()).catch(() => {});
        await machine.server.ended;
        await expect.poll(conversations.answered, { timeout: 30_000 }).toBeGreaterThan(before + 4);
      }
      const { answered, failures } = await conversations.stop();
      const { texts, resumed } = await streams.stop();
      expect(failures).toEqual([]);
      expect(answered).toBeGreaterThan(12);
      expect(texts.length).toBeGreaterThan(3);
      expect([...new Set(texts)]).toEqual([LONG_ANSWER]);
      expect(resumed).toBeGreaterThan(0);
    }, 240_000);
  });
});
