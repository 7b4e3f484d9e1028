import { Agent } from "node:http";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { packageRoot } from "../../runtime/package-root.js";
import { DOCUMENTS, type Load, post, startConversations } from "./conversations.js";
import { edgeUrl, kubectl, list, serves, until, untilSettled } from "./kubectl.js";

const SERVICES = ["gateway", "agent", "rag", "rag-ingest", "cache", "checkpoint", "ratelimit", "envoy"];
const STORES = ["redis-cache", "redis-state", "postgres"];
const nameOf = "app.kubernetes.io/name";

let edge: string;
const note = (text: string) => process.stdout.write(`    ${text}\n`);
const direct = new Agent();

beforeAll(async () => {
  edge = await edgeUrl();
});

async function ingest(documents: { id: string; text: string }[]): Promise<string> {
  return (JSON.parse(await post(direct, `${edge}/v1/collections/default/documents:ingest`, { documents })) as { id: string }).id;
}

/** Some 300 KB of sentences, no two alike in any text: nothing of it is embedded already. */
function largeText(name: string): string {
  return Array.from({ length: 4_000 }, (_, i) => `Dipper ${name}-${i} walks under water along the bed of the stream and looks for larvae. `).join("");
}

/** Conversations that end with the test, also when it fails: those that went on would slow whatever comes after it. */
function converse(options: Parameters<typeof startConversations>[1]): Load {
  const load = startConversations(edge, options);
  onTestFinished(async () => void (await load.stop()));
  return load;
}

async function ended(load: Load): Promise<void> {
  const { answered, failures, times } = await load.stop();
  note(`${answered} answered, ${failures.length} failed, ms p50 ${times.p50} p99 ${times.p99} max ${times.max}`);
  expect(failures).toEqual([]);
  expect(answered).toBeGreaterThan(0);
}

test("the minikube overlay is accepted, and every pod becomes ready", async () => {
  const started = performance.now();
  const begun = Date.now();
  await kubectl("apply", "--validate=strict", "--kustomize", join(packageRoot, "tests", "cluster", "overlay"));
  await untilSettled(300);
  note(`${(await list("pods")).length} pods ready after ${Math.round((performance.now() - started) / 1000)} s`);
  // Of the pods that were made just now: a cluster that was stopped and started restarts the others.
  const fresh = (await list("pods")).filter(({ metadata }) => Date.parse(metadata.creationTimestamp) >= begun);
  expect(fresh.filter(({ status }) => status.containerStatuses[0].restartCount > 0).map(({ metadata }) => metadata.name)).toEqual([]);
});

test("documents go in and answers come out through Envoy", async () => {
  // Pods are ready before those who call them have read that in DNS.
  await until("a healthy mesh", 60, async () => ((await (await fetch(`${edge}/health`)).json()) as { status: string }).status === "healthy");
  const job = await ingest(DOCUMENTS);
  await until("the ingestion", 60, async () => (await (await fetch(`${edge}/v1/jobs/${job}`)).text()).includes('"SUCCEEDED"'));
  const answer = JSON.parse(await post(direct, `${edge}/query`, { query: "What does the otter eat?" }));
  expect(answer.response).toContain("eels");
  expect(answer.metadata.citations[0].document_id).toBe("otter");
});

test("each policy selects the pods it is about, and no pod is left to the default alone", async () => {
  const pods = (await list("pods")).filter(serves);
  const named = (selector: { matchLabels?: Record<string, string>; matchExpressions?: { key: string; values: string[] }[] }) =>
    pods.filter(({ metadata: { labels } }) =>
      Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value) &&
      (selector.matchExpressions ?? []).every(({ key, values }) => values.includes(labels[key]!)));
  const policies = await list("networkpolicies");
  const own = [...SERVICES, ...STORES];
  for (const { metadata, spec } of policies) {
    const selected = new Set(named(spec.podSelector).map((pod) => pod.metadata.labels[nameOf]));
    const wanted: Record<string, string[]> = { "default-deny": own, dns: own, metrics: SERVICES, "gateway-probes": ["gateway"] };
    expect([...selected].sort(), metadata.name).toEqual([...(wanted[metadata.name] ?? [metadata.name])].sort());
    for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) {
      for (const peer of [...(rule.from ?? []), ...(rule.to ?? [])]) {
        if (peer.podSelector !== undefined && peer.namespaceSelector === undefined) expect(named(peer.podSelector), `${metadata.name}: ${JSON.stringify(peer)}`).not.toEqual([]);
      }
    }
  }
  expect(policies.map(({ metadata }) => metadata.name)).toEqual(expect.arrayContaining(own));
});

describe("autoscalers, by the metrics of our own pods", () => {
  const WATCHED = { gateway: "http_requests_per_second", agent: "agent_runs_in_flight", "rag-ingest": "rag_jobs_queued" };

  /** By autoscaler: the replicas that it wants, and what it knows of each of the metrics of our own. */
  async function autoscalers(): Promise<Map<string, { wanted: number; metrics: Map<string, string> }>> {
    const entries = (await list("hpa")).map(({ metadata, status }) => {
      const own = ((status.currentMetrics ?? []) as any[]).map((one) => one.pods ?? one.external).filter((one) => one !== undefined);
      const metrics = new Map(own.map((one) => [one.metric.name as string, (one.current.averageValue ?? one.current.value) as string]));
      return [metadata.name, { wanted: status.desiredReplicas as number, metrics }] as const;
    });
    return new Map(entries);
  }
  const untilKnown = (name: string, metric: string) => until(`${metric} of ${name}`, 120, async () => (await autoscalers()).get(name)!.metrics.get(metric) !== undefined);

  test("scale gateway, agent and rag-ingest up under work, and down after it, without a failed call", async () => {
    for (const [name, metric] of Object.entries(WATCHED)) await untilKnown(name, metric);
    const started = performance.now();
    const seen = new Map<string, { most: number; up?: number; down?: number; atMost?: string }>(Object.keys(WATCHED).map((name) => [name, { most: 1 }]));
    const watch = async () => {
      const seconds = Math.round((performance.now() - started) / 1000);
      const now = await autoscalers();
      for (const [name, metric] of Object.entries(WATCHED)) {
        const { wanted, metrics } = now.get(name)!;
        const one = seen.get(name)!;
        if (wanted > 1) one.up ??= seconds;
        if (wanted > one.most) Object.assign(one, { most: wanted, atMost: `${metric} ${metrics.get(metric)}` });
        if (one.up !== undefined && wanted === 1) one.down ??= seconds;
      }
    };
    const load = converse({ people: 16, pauseMs: 0, bypassCache: true });
    // Answers from the cache: many requests and few runs.
    const quick = converse({ people: 8, pauseMs: 0, threads: false });
    // More than one worker gets done, for as long as nobody joins it.
    let feeding = true;
    const feed = async (feeder: number) => {
      for (let i = 0; feeding && seen.get("rag-ingest")!.up === undefined; i += 1) await ingest([{ id: `large-${feeder}-${i}`, text: largeText(`${feeder}-${i}`) }]);
    };
    const feeders = Promise.all(Array.from({ length: 6 }, (_, feeder) => feed(feeder)));
    await until("the way up", 180, async () => (await watch(), [...seen.values()].every(({ up }) => up !== undefined))).finally(() => (feeding = false));
    await feeders;
    await ended(load);
    await ended(quick);
    note(`the work ended after ${Math.round((performance.now() - started) / 1000)} s`);
    await until("the way down", 360, async () => (await watch(), [...seen.values()].every(({ down }) => down !== undefined)));
    for (const [name, { most, up, down, atMost }] of seen) note(`${name}: up after ${up} s, to ${most} (${atMost}), back at 1 after ${down} s`);
  });

  test("scale agents up by the runs that wait, when all replicas are full", async () => {
    // Two at once: the runs under way stay below their target of four, and never ask for more replicas.
    await kubectl("set", "env", "deployment/agent", "RAGENTS_AGENT_MAX_RUNS=2");
    await kubectl("rollout", "status", "deployment/agent", "--timeout=120s");
    await untilKnown("agent", "agent_runs_waiting");
    const load = converse({ people: 16, pauseMs: 0, bypassCache: true });
    let atMost = "";
    const seconds = await until("the way up", 180, async () => {
      const { wanted, metrics } = (await autoscalers()).get("agent")!;
      atMost = [...metrics].map((one) => one.join(" ")).join(", ");
      return wanted > 1;
    });
    note(`agent: up after ${seconds} s (${atMost})`);
    await ended(load);
    await kubectl("set", "env", "deployment/agent", "RAGENTS_AGENT_MAX_RUNS-");
    await untilSettled();
  });
});

describe("with two replicas of each service, while people talk over kept connections", () => {
  test("every service has two", async () => {
    for (const name of SERVICES) await kubectl("patch", "hpa", name, "--patch", '{"spec":{"minReplicas":2}}');
    await until("two replicas", 180, async () => (await list("deployments")).every(({ status }) => (status.readyReplicas ?? 0) >= 2));
    note((await kubectl("top", "pods").catch(() => "")).trim().replaceAll("\n", "\n    "));
  });

  test.each(SERVICES)("deleting a pod of %s fails no call", async (name) => {
    const load = converse({ people: 4, pauseMs: 100, bypassCache: true });
    await until("the first answers", 30, async () => load.answered() > 5);
    const [pod] = (await list("pods", `${nameOf}=${name}`)).filter(serves);
    await kubectl("delete", "pod", pod!.metadata.name, "--wait=true");
    await untilSettled();
    await ended(load);
  });

  test("evicting a pod of each service, as a drain does, fails no call", async () => {
    const load = converse({ people: 4, pauseMs: 100, bypassCache: true });
    const [node] = await list("nodes");
    const selector = `${nameOf} in (gateway,agent,rag,cache,checkpoint,ratelimit)`;
    // The budgets let one replica of each go at a time; the node is open again as soon as they have begun to go.
    const drain = kubectl("drain", node!.metadata.name, "--pod-selector", selector, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=240s");
    const uncordon = setInterval(() => void kubectl("uncordon", node!.metadata.name).catch(() => {}), 1_000);
    await drain.finally(() => clearInterval(uncordon));
    await kubectl("uncordon", node!.metadata.name);
    await untilSettled();
    await ended(load);
  });

  test("rolling out a new version of every service fails no call", async () => {
    const load = converse({ people: 4, pauseMs: 100, bypassCache: true });
    const started = performance.now();
    for (const name of SERVICES) {
      await kubectl("set", "env", `deployment/${name}`, `RAGENTS_RELEASE=${Date.now()}`);
      await kubectl("rollout", "status", `deployment/${name}`, "--timeout=180s");
    }
    await untilSettled();
    note(`rolled out in ${Math.round((performance.now() - started) / 1000)} s`);
    await ended(load);
  });

  test.each(STORES)("conversations go on after the pod of %s was deleted", async (name) => {
    const load = converse({ people: 2, pauseMs: 200, bypassCache: true });
    await until("the first answers", 30, async () => load.answered() > 2);
    await kubectl("delete", "pod", `${name}-0`, "--wait=true");
    await untilSettled();
    const back = load.answered();
    await until("answers", 60, async () => load.answered() > back + 5);
    const { answered, failures } = await load.stop();
    note(`${answered} answered, ${failures.length} failed while the only replica of ${name} was away`);
    const again = converse({ people: 2, pauseMs: 50, bypassCache: true });
    await until("answers", 60, async () => again.answered() > 10);
    await ended(again);
  });
});
