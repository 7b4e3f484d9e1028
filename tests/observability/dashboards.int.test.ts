import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { edgeConfig } from "../../gateway/envoy/edge-config.js";
import { packageRoot } from "../../runtime/package-root.js";
import { toGrafana } from "../../scripts/dashboards/dashboard.js";
import { dashboards } from "../../scripts/dashboards/definitions.js";
import { type EnvoyServer, envoyFound, startEnvoy } from "../servers/envoy.js";
import { freePort } from "../servers/free-port.js";
import { type OpenAiDouble, startOpenAiDouble } from "../servers/openai-double.js";
import { describePostgres } from "../servers/postgres.js";
import { type PrometheusServer, prometheusFound, startPrometheus } from "../servers/prometheus.js";
import { type RedisServer, redisFound, startRedis } from "../servers/redis.js";
import { type ObservedMesh, startObservedMesh } from "../support/observed-mesh.js";

const monitoring = join(packageRoot, "k8s", "components", "monitoring");
const files = readdirSync(join(monitoring, "dashboards"));

test("the files are what the definitions make: npm run dashboards", () => {
  expect(files.sort()).toEqual(dashboards.map(({ uid }) => `${uid}.json`).sort());
  for (const dashboard of dashboards) {
    expect(JSON.parse(readFileSync(join(monitoring, "dashboards", `${dashboard.uid}.json`), "utf8"))).toEqual(toGrafana(dashboard));
  }
});

const possible = (await prometheusFound()) && (await redisFound()) && (await envoyFound());

describePostgres("a Prometheus that scraped a mesh after traffic", (postgres) => {
  describe.skipIf(!possible)("and the dashboards", () => {
    let redis: RedisServer;
    let model: OpenAiDouble;
    let mesh: ObservedMesh;
    let envoy: EnvoyServer;
    /** Where Envoy takes requests. */
    let edge: string;
    let prometheus: PrometheusServer;

    beforeAll(async () => {
      redis = await startRedis();
      // What is not limited is not decided in Redis.
      const limits = join(await mkdtemp(join(tmpdir(), "ragents-limits-")), "limits.yaml");
      onTeardown.push(() => rm(dirname(limits), { recursive: true }));
      await writeFile(limits, "tiers: { local: { per_minute: 1000 } }\n");
      // The second number is of no passage.
      model = await startOpenAiDouble(() => ({ text: "It eats eels [1], they say [77]." }));
      const [authorizationPort, rateLimitPort, edgePort, probesPort] = [await freePort(), await freePort(), await freePort(), await freePort()];
      mesh = await startObservedMesh({
        RAGENTS_AUTHORIZATION_PORT: String(authorizationPort),
        RAGENTS_RATELIMIT_PORT: String(rateLimitPort),
        RAGENTS_RAG_URL: postgres().url,
        RAGENTS_CHECKPOINT_URL: postgres().url,
        RAGENTS_RATELIMIT_URL: redis.url,
        RAGENTS_RATELIMIT_CONFIG: limits,
        RAGENTS_LLM_PRICES: "double=1/2",
        OPENAI_BASE_URL: model.baseUrl,
        OPENAI_MODEL: "double",
      });
      const config = edgeConfig(readFileSync(join(packageRoot, "gateway", "envoy", "envoy.yaml"), "utf8"), {
        listen: { host: "127.0.0.1", edge: edgePort, probes: probesPort, admin: 0 },
        endpoints: {
          gateway: { host: "127.0.0.1", port: Number(new URL(mesh.url).port), healthPort: Number(mesh.probes.get("gateway")!.split(":")[1]) },
          authorization: { host: "127.0.0.1", port: authorizationPort },
          ratelimit: { host: "127.0.0.1", port: rateLimitPort },
        },
      });
      const { admin: _, ...rest } = JSON.parse(config);
      envoy = await startEnvoy(stringify(rest));
      edge = `http://127.0.0.1:${edgePort}`;
      const labelsOf = (service: string) => ({ namespace: "ragents", pod: `${service}-0`, service });
      const targets: { address: string; labels: Record<string, string> }[] = [...mesh.probes].map(([service, address]) => ({ address, labels: labelsOf(service) }));
      // What the listener "probes" shows at /metrics comes from here.
      targets.push({ address: new URL(envoy.admin).host, labels: { ...labelsOf("envoy"), __metrics_path__: "/stats/prometheus" } });
      prometheus = await startPrometheus({ targets, ruleFiles: [join(monitoring, "rules.yaml")] });
      await untilScraped();
      await until(async () => (await fetch(`${edge}/health`)).ok);
      await traffic();
    }, 90_000);
    const onTeardown: (() => Promise<void>)[] = [];
    afterAll(async () => {
      for (const end of onTeardown) await end();
      await prometheus?.stop();
      await envoy?.stop();
      await mesh?.stop();
      await model?.close();
      await redis?.stop();
    });

    const post = async (path: string, body: unknown) => {
      const response = await fetch(edge + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
      return (await response.json()) as { id: string };
    };
    const untilScraped = () => until(async () => (await prometheus.query("up == 1")).length === mesh.probes.size + 1);

    /** Something of everything that the panels show. */
    async function traffic(): Promise<void> {
      const { id } = await post("/v1/collections/default/documents:ingest", { documents: [{ id: "otter", text: "The otter eats eels." }] });
      await until(async () => (await (await fetch(`${mesh.url}/v1/jobs/${id}`)).text()).includes('"SUCCEEDED"'));
      for (const mode of ["hybrid", "semantic", "keyword"]) await post("/v1/collections/default:retrieve", { query: "otter", mode });
      for (let turn = 0; turn < 3; turn += 1) await post("/query", { query: "What does the otter eat?", thread_id: "t" });
    }

    const queries = dashboards.flatMap(({ title, panels }) => panels.flatMap((panel) => panel.queries.map(({ expr }) => ({ of: `${title}: ${panel.title}`, expr }))));

    test.each(queries)("$of: $expr", async ({ expr }) => {
      const asked = expr.replaceAll("$namespace", "ragents").replaceAll("$__rate_interval", "1m");
      // Until the traffic has been scraped and the rules evaluated.
      await expect
        .poll(async () => (await prometheus.query(asked)).filter(({ value }) => Number.isFinite(Number(value[1]))).length, { timeout: 20_000, interval: 250 })
        .toBeGreaterThan(0);
    });
  });
});

/** Asks every 100 ms, for at most 30 s. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 300; i += 1) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`not within 30 s: ${condition.toString()}`);
}
