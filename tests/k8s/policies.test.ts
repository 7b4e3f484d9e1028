import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { packageRoot } from "../../runtime/package-root.js";
import { type Manifest, render, rendererFound } from "./render.js";
import { validate } from "./schemas.js";

const SERVICES = ["gateway", "agent", "rag", "rag-ingest", "cache", "checkpoint", "ratelimit", "envoy"];
const STORES = ["postgres", "redis-cache", "redis-state"];
/** Not "dev": what skaffold dev deploys may be written to. */
const COMPONENTS = readdirSync(join(packageRoot, "k8s", "components")).filter((name) => name !== "dev");
/** What fits together: each component alone, and what a large installation would take. */
const COMBINATIONS = ["minikube", "production"].flatMap((overlay) =>
  [[], ...COMPONENTS.map((name) => [name]), ["prometheus-adapter", "monitoring", "istio-mtls", "gateway-api", "external-secrets", "cloudnative-pg", "redis-cluster", "backup"]].map(
    (components) => ({ overlay, components }),
  ),
  // It is a part of production.
).filter(({ overlay, components }) => overlay !== "production" || !components.includes("identity"));
/** What each gateway opens for API keys. */
const GATEWAY_CONNECTIONS = 4;
/** Secrets that the administrator makes, and minikube's overlay under other names. */
const ADMINISTRATORS = ["ragents-stores", "ragents-identity"];
/** Stores that a component puts in the place of ours. */
const REPLACED: Record<string, string[]> = { "managed-stores": ["postgres", "redis-cache", "redis-state"], "cloudnative-pg": ["postgres"], "redis-cluster": ["redis-cache"] };

describe.skipIf(!(await rendererFound())).each(COMBINATIONS)("the manifests of $overlay with $components", ({ overlay, components }) => {
  let all: Manifest[];
  beforeAll(async () => {
    all = await render(overlay, components);
  });
  const replaced = components.flatMap((name) => REPLACED[name] ?? []);
  const stores = STORES.filter((name) => !replaced.includes(name));
  const keda = components.includes("keda");
  const of = (kind: string) => all.filter((manifest) => manifest.kind === kind);
  const named = (kind: string, name: string) => of(kind).find(({ metadata }) => metadata.name === name);
  const workloads = () => [...of("Deployment"), ...of("StatefulSet")];
  /** All that makes pods: also jobs, in the shape of a Deployment. */
  const podMakers = () => [...workloads(), ...of("CronJob").map(({ spec, ...job }) => ({ ...job, spec: spec.jobTemplate.spec }))];
  const containers = () =>
    podMakers().flatMap(({ metadata, spec }) =>
      [...(spec.template.spec.initContainers ?? []), ...spec.template.spec.containers].map((container: any) => ({ of: metadata.name, ...container })),
    );

  test("have a Deployment, Service, autoscaler, disruption budget, policy and account for each service", () => {
    for (const kind of ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "ServiceAccount"]) {
      const scaledToNone = keda && ["HorizontalPodAutoscaler", "PodDisruptionBudget"].includes(kind);
      const wanted = SERVICES.filter((name) => !scaledToNone || name !== "rag-ingest");
      expect(of(kind).map(({ metadata }) => metadata.name), kind).toEqual(expect.arrayContaining(wanted));
    }
    expect(of("StatefulSet").map(({ metadata }) => metadata.name).sort()).toEqual(stores);
  });

  test("run as nobody in particular, without privileges, on a read-only file system", () => {
    for (const { metadata, spec } of podMakers()) {
      // Only the adapter talks to the API server.
      if (metadata.name !== "prometheus-adapter") expect(spec.template.spec.automountServiceAccountToken, metadata.name).toBe(false);
      expect(spec.template.spec.securityContext, metadata.name).toMatchObject({ runAsNonRoot: true, runAsUser: expect.any(Number), seccompProfile: { type: "RuntimeDefault" } });
      expect(spec.template.spec.securityContext.runAsUser, metadata.name).toBeGreaterThan(0);
    }
    for (const container of containers()) {
      expect(container.securityContext, container.of).toEqual({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } });
    }
    expect(named("Namespace", "ragents")!.metadata.labels).toMatchObject({ "pod-security.kubernetes.io/enforce": "restricted" });
  });

  test("pin every image, and ask for and bound processor and memory", () => {
    for (const { of: name, image, resources } of containers()) {
      expect(image, name).toMatch(/:[\w.-]+$/);
      expect(image, name).not.toMatch(/:latest$/);
      for (const side of ["requests", "limits"]) expect(resources[side], name).toMatchObject({ cpu: expect.anything(), memory: expect.anything() });
    }
  });

  test("keep Node's heap well under the memory limit", () => {
    const heaps = containers().flatMap(({ of: name, env = [], resources }) => {
      const options = env.find((variable: any) => variable.name === "NODE_OPTIONS")?.value as string | undefined;
      return options === undefined ? [] : [{ name, heap: Number(/--max-old-space-size=(\d+)/.exec(options)?.[1]), limit: megabytes(resources.limits.memory) }];
    });
    expect(heaps).toHaveLength(7);
    for (const { name, heap, limit } of heaps) expect(heap / limit, name).toBeLessThanOrEqual(0.7);
  });

  test("probe liveness apart from readiness, and stop within their grace", () => {
    for (const { metadata, spec } of workloads().filter((one) => SERVICES.includes(one.metadata.name))) {
      const [container] = spec.template.spec.containers;
      expect(container.livenessProbe.httpGet.path, metadata.name).toBe("/livez");
      expect(container.readinessProbe.httpGet.path, metadata.name).toBe("/readyz");
      expect(container.startupProbe, metadata.name).toBeDefined();
      // 25 s are the services' own time to drain.
      const before = container.lifecycle.preStop.sleep?.seconds ?? 20;
      expect(spec.template.spec.terminationGracePeriodSeconds, metadata.name).toBeGreaterThan(before + 25);
    }
  });

  test("select what they are about", () => {
    const pods = workloads().map(({ metadata, spec }) => ({ namespace: metadata.namespace, labels: spec.template.metadata.labels as Record<string, string> }));
    const selected = (namespace: string | undefined, labels: Record<string, string>) =>
      pods.filter((pod) => pod.namespace === namespace && Object.entries(labels).every(([key, value]) => pod.labels[key] === value));
    for (const { metadata, spec } of workloads()) expect(selected(metadata.namespace, spec.selector.matchLabels), metadata.name).toHaveLength(1);
    for (const { metadata, spec } of of("Service")) {
      // An operator's pods are not in the manifests.
      expect(selected(metadata.namespace, spec.selector), metadata.name).toHaveLength(replaced.includes(metadata.name) ? 0 : 1);
    }
    for (const { metadata, spec } of of("PodDisruptionBudget")) {
      expect(selected(metadata.namespace, spec.selector.matchLabels), metadata.name).toHaveLength(1);
      // A budget of at least as many as there are would block every drain.
      expect(spec, metadata.name).toMatchObject({ maxUnavailable: 1 });
      expect(spec.minAvailable).toBeUndefined();
    }
  });

  test("find every ConfigMap and Secret that they name; a name with a hash restarts pods when its content changes", () => {
    const names = new Set([...of("ConfigMap"), ...of("Secret")].map(({ metadata }) => metadata.name));
    for (const name of ADMINISTRATORS) names.add(name);
    for (const { metadata, spec } of podMakers()) {
      const text = JSON.stringify(spec.template.spec);
      for (const [, name, rest] of text.matchAll(/"(?:configMapRef|configMap|secretRef|secretKeyRef)":\{[^{}]*"name":"([^"]+)"([^{}]*)/g)) {
        if (name === "ragents-models" && /"optional":true/.test(text + rest)) continue;
        expect(names.has(name!), `${metadata.name} names ${name}`).toBe(true);
        if (!ADMINISTRATORS.includes(name!)) expect(name).toMatch(/-[a-z0-9]{10}$/);
      }
    }
  });

  test("scale each Deployment by processor and by its own work, as slowly as it says", () => {
    for (const { metadata, spec } of of("HorizontalPodAutoscaler")) {
      const target = named("Deployment", spec.scaleTargetRef.name);
      expect(target, metadata.name).toBeDefined();
      expect(target!.spec.replicas, "replicas are the autoscaler's").toBeUndefined();
      const [processor, ...own] = spec.metrics.map(({ type }: { type: string }) => type);
      expect(processor, metadata.name).toBe("Resource");
      expect([...new Set(own)], metadata.name).toEqual([expect.stringMatching(/External|Pods/)]);
      expect(spec.behavior.scaleUp.policies).toEqual([{ type: "Percent", value: 50, periodSeconds: 60 }, { type: "Pods", value: 2, periodSeconds: 60 }]);
      expect(spec.behavior.scaleDown.policies).toEqual([{ type: "Percent", value: 10, periodSeconds: 60 }, { type: "Pods", value: 1, periodSeconds: 60 }]);
      expect([spec.minReplicas, spec.maxReplicas]).toEqual(overlay === "production" ? [3, 20] : [1, 3]);
    }
  });

  test("ask for metrics that the adapter has rules for", () => {
    const rules = adapterRules();
    for (const { metadata, spec } of of("HorizontalPodAutoscaler")) {
      for (const { type, pods, external } of spec.metrics) {
        if (type === "Pods") expect(rules.custom, metadata.name).toContain(pods.metric.name);
        if (type === "External") expect(rules.external, metadata.name).toContain(external.metric.name);
      }
    }
  });

  test.skipIf(replaced.includes("postgres"))("never open more connections than PostgreSQL takes, with every autoscaler at its maximum", () => {
    const args = named("StatefulSet", "postgres")!.spec.template.spec.containers[0].args as string[];
    const limit = Number(args.find((arg) => arg.startsWith("max_connections="))!.split("=")[1]);
    const mesh = of("ConfigMap").find(({ metadata }) => metadata.name.startsWith("mesh-"))!.data!;
    const most = (name: string) => (named("HorizontalPodAutoscaler", name)?.spec.maxReplicas ?? named("ScaledObject", name)!.spec.maxReplicaCount) as number;
    const used = (most("rag") + most("rag-ingest")) * Number(mesh["RAGENTS_RAG_MAX_CONNECTIONS"]) + most("checkpoint") * Number(mesh["RAGENTS_CHECKPOINT_MAX_CONNECTIONS"]) + most("gateway") * GATEWAY_CONNECTIONS;
    expect(used).toBeLessThan(limit);
  });

  test("validate strictly against the API's schemas", async () => {
    await validate(all);
  });

  test("let through what services call, and nothing else", () => {
    const edges: [from: string, to: string, port: number][] = [
      ...(["gateway", "agent", "rag", "cache", "checkpoint", "ratelimit"] as const).map((to): [string, string, number] => ["envoy", to, portOf(to)]),
      ...(["agent", "rag", "cache", "checkpoint", "ratelimit"] as const).map((to): [string, string, number] => ["gateway", to, portOf(to)]),
      ...(["rag", "cache", "checkpoint", "ratelimit"] as const).map((to): [string, string, number] => ["agent", to, portOf(to)]),
      ...(overlay === "production" || components.includes("identity") ? [["gateway", "postgres", 5432] as [string, string, number]] : []),
      ["rag", "postgres", 5432],
      ["rag-ingest", "postgres", 5432],
      ["rag", "cache", portOf("cache")],
      ["rag", "ratelimit", portOf("ratelimit")],
      ["rag-ingest", "cache", portOf("cache")],
      ["checkpoint", "postgres", 5432],
      ["cache", "redis-cache", 6379],
      ["ratelimit", "redis-state", 6379],
    ];
    const allowed = (from: string, to: string, port: number) =>
      [["Egress", from, "egress", "to", to], ["Ingress", to, "ingress", "from", from]].every(([type, self, rules, peers, peer]) =>
        policiesOf(self!).some(({ spec }) =>
          spec.policyTypes.includes(type) &&
          (spec[rules!] ?? []).some((rule: any) =>
            rule.ports?.some((one: any) => one.port === port) &&
            (rule[peers!] === undefined || rule[peers!].some((one: any) => one.podSelector?.matchLabels?.["app.kubernetes.io/name"] === peer)))));
    const policiesOf = (name: string) =>
      of("NetworkPolicy").filter(({ spec }) => spec.podSelector.matchLabels?.["app.kubernetes.io/name"] === name);
    // An operator's policies, and those of a provider's stores, are about other pods.
    const ours = [...SERVICES, ...STORES.filter((name) => !replaced.includes(name) || name === "postgres" && components.includes("cloudnative-pg"))];
    for (const from of ours) {
      for (const to of ours.filter((name) => name !== "envoy")) {
        const wanted = edges.some(([a, b]) => a === from && b === to);
        expect(allowed(from, to, portOf(to)), `${from} -> ${to}:${portOf(to)}`).toBe(wanted);
      }
    }
    expect(named("NetworkPolicy", "default-deny")!.spec).toEqual({ podSelector: {}, policyTypes: ["Ingress", "Egress"] });
  });

  test.runIf(overlay === "minikube")("fit 4 processors and 6 GiB with every autoscaler at its maximum, and show Envoy at port 30080", () => {
    let cpu = 0;
    let memory = 0;
    for (const { kind, metadata, spec } of workloads().filter((one) => one.metadata.namespace === "ragents")) {
      const autoscaler = named("HorizontalPodAutoscaler", metadata.name)?.spec.maxReplicas ?? named("ScaledObject", metadata.name)?.spec.maxReplicaCount;
      const replicas = kind === "Deployment" ? (autoscaler as number) : 1;
      for (const { resources } of spec.template.spec.containers) {
        cpu += replicas * processors(resources.requests.cpu);
        memory += replicas * megabytes(resources.requests.memory);
      }
    }
    expect(cpu).toBeLessThan(4);
    expect(memory).toBeLessThan(6 * 1024);
    if (!components.includes("gateway-api")) expect(named("Service", "envoy")!.spec).toMatchObject({ type: "NodePort", ports: [{ nodePort: 30080 }] });
  });
});

function portOf(name: string): number {
  const ports: Record<string, number> = { gateway: 8080, cache: 9101, checkpoint: 9102, ratelimit: 9103, rag: 9104, "rag-ingest": 9104, agent: 9105, postgres: 5432 };
  return ports[name] ?? 6379;
}

/** Names of the metrics that the adapter's rules make. */
function adapterRules(): { custom: string[]; external: string[] } {
  const text = readFileSync(join(packageRoot, "k8s/components/prometheus-adapter/rules.yaml"), "utf8");
  const { rules, externalRules } = parse(text) as Record<"rules" | "externalRules", { seriesQuery: string; name?: { as: string } }[]>;
  const nameOf = ({ name, seriesQuery }: { seriesQuery: string; name?: { as: string } }) => name?.as ?? seriesQuery.split("{")[0]!;
  return { custom: rules.map(nameOf), external: externalRules.map(nameOf) };
}

function processors(quantity: string): number {
  return quantity.endsWith("m") ? Number(quantity.slice(0, -1)) / 1000 : Number(quantity);
}

function megabytes(quantity: string): number {
  const [, number, unit] = /^(\d+)(Mi|Gi)$/.exec(quantity)!;
  return Number(number) * (unit === "Gi" ? 1024 : 1);
}
