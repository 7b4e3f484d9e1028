import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { packageRoot } from "../../runtime/package-root.js";
import { startOpenAiDouble, type OpenAiDouble } from "../servers/openai-double.js";
import { type ObservedMesh, startObservedMesh } from "../support/observed-mesh.js";
import { type Sample, samplesOf, selects } from "./samples.js";

const SCALED = ["gateway", "agent", "rag", "rag-ingest", "cache", "checkpoint", "ratelimit"];
/** Label values that are counted on a mesh however it is used: words of the API and of the configuration. */
const LABELS = ["agent", "batch", "code", "direction", "grpc_code", "grpc_method", "grpc_service", "grpc_type", "kind", "le", "method", "mode", "model"]
  .concat(["outcome", "priority", "queue", "reason", "reranker", "result", "rpc", "service", "span", "state", "tenant", "what"]);

let mesh: ObservedMesh;
let model: OpenAiDouble;
/** What each Deployment shows before anybody has asked it anything. */
const atStart = new Map<string, Sample[]>();

beforeAll(async () => {
  model = await startOpenAiDouble();
  mesh = await startObservedMesh({ OPENAI_BASE_URL: model.baseUrl, OPENAI_MODEL: "double" });
  for (const name of mesh.probes.keys()) atStart.set(name, await look(name));
}, 60_000);
afterAll(async () => {
  await mesh.stop();
  await model.close();
});

const look = async (name: string) => samplesOf(await mesh.metricsOf(name));
const ours = (name: string) => !/^(process_|nodejs_)/.test(name);

describe("an autoscaler's metric", () => {
  const file = (...path: string[]) => readFileSync(join(packageRoot, "k8s", ...path), "utf8");
  const rules = parse(file("components", "prometheus-adapter", "rules.yaml"), { merge: true }) as Record<"rules" | "externalRules", Rule[]>;
  interface Rule {
    seriesQuery: string;
    name?: { as: string };
  }
  const seriesOf = (metric: string) =>
    [...rules.rules, ...rules.externalRules].find(({ name, seriesQuery }) => (name?.as ?? seriesQuery.split("{")[0]) === metric)!.seriesQuery;

  test.each(SCALED)("of %s is there before the first request", (name) => {
    const [autoscaler] = parseAllDocuments(file("base", name, "horizontal-pod-autoscaler.yaml")).map((document) => document.toJS());
    const own = autoscaler.spec.metrics.filter(({ type }: { type: string }) => type !== "Resource");
    expect(own).not.toEqual([]);
    // Prometheus adds these two when it scrapes the pod.
    const scraped = atStart.get(name)!.map((sample) => ({ ...sample, labels: { ...sample.labels, namespace: "ragents", pod: `${name}-0` } }));
    for (const { pods, external } of own) {
      const series = seriesOf((pods ?? external).metric.name);
      expect(scraped.filter((sample) => selects(series, sample)), series).not.toEqual([]);
    }
  });
});

test("docs/metrics.md names what is exported, by whom, with which labels, and nothing else", () => {
  const documented = new Map(
    readFileSync(join(packageRoot, "docs", "metrics.md"), "utf8")
      .split("\n")
      .flatMap((line) => {
        const [, name, labels, who] = /^\| `(\w+)` \| (.*?) ?\| (.*?) \|/.exec(line) ?? [];
        return name === undefined ? [] : [[name, { labels: words(labels!), who: who === "every service" ? SCALED : words(who!) }] as const];
      }),
  );
  const found = new Map<string, { labels: Set<string>; who: Set<string> }>();
  for (const [who, samples] of atStart) {
    for (const { name, labels } of samples.filter((sample) => ours(sample.name))) {
      const metric = documented.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "");
      const entry = found.get(metric) ?? { labels: new Set(), who: new Set() };
      for (const label of Object.keys(labels)) if (label !== "le") entry.labels.add(label);
      entry.who.add(who);
      found.set(metric, entry);
    }
  }
  // They come with PostgreSQL, Redis, a receiver of traces, the first span and the first run.
  const later = /_postgres_|^batch_size$|^span_|^opik_|^otlp_|^agent_(tokens|cost)/;
  const shown = (entries: Iterable<[string, { labels: Iterable<string>; who: Iterable<string> }]>) =>
    Object.fromEntries([...entries].filter(([name]) => !later.test(name) && !name.startsWith("ratelimit_queue")).map(([name, { labels, who }]) => [name, { labels: [...labels].sort(), who: [...who].sort() }]));
  expect(shown(found)).toEqual(shown(documented));
});

test("labels are words of the API and the configuration, and their number does not grow with what people do", async () => {
  const post = (path: string, body: unknown) =>
    fetch(mesh.url + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const use = async (round: string) => {
    const collection = `docs-${round}`;
    await post("/v1/collections", { id: collection });
    await post(`/v1/collections/${collection}/documents:ingest`, { documents: [{ id: `otter-${round}`, text: "The otter eats eels." }] });
    for (const person of ["ada", "bob", "zoe"]) {
      const answer = await post("/query", { query: `What does the otter of ${person} eat?`, thread_id: `${round}-${person}`, config_overrides: { collection } });
      expect(answer.status).toBe(200);
      await fetch(`${mesh.url}/no/such/${round}/${person}?q=${person}`, { method: "PROPFIND" });
      await post(`/v1/collections/nowhere-${round}-${person}:retrieve`, { query: person });
      await post("/query", { query: "", thread_id: person, agent_type: `unknown-${person}` });
    }
    return new Map(await Promise.all([...mesh.probes.keys()].map(async (name) => [name, (await look(name)).filter((sample) => ours(sample.name))] as const)));
  };
  await use("first");
  const before = await use("second");
  const after = await use("third");
  for (const [name, samples] of after) {
    expect(samples.length, name).toBe(before.get(name)!.length);
    for (const { labels } of samples) {
      for (const [label, value] of Object.entries(labels)) {
        expect(LABELS, name).toContain(label);
        expect(value, `${name} ${label}`).not.toMatch(/first|second|third|ada|bob|zoe|otter/);
      }
    }
    // A Prometheus holds millions; a hundred pods of the largest stay far below.
    expect(samples.length, name).toBeLessThan(2_000);
  }
}, 30_000);

function words(text: string): string[] {
  return text.split(",").map((word) => word.trim()).filter((word) => word !== "");
}
