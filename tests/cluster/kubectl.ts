import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** Kubernetes objects, as far as the tests look into them. */
export interface KubernetesObject {
  metadata: { name: string; labels: Record<string, string>; creationTimestamp: string; deletionTimestamp?: string };
  spec: any;
  status: any;
}

export const NAMESPACE = "ragents";
const context = process.env["RAGENTS_CLUSTER_CONTEXT"];

/** Runs kubectl in the current context, or that of RAGENTS_CLUSTER_CONTEXT, in the mesh's namespace. Rejects with its own words. */
export async function kubectl(...args: string[]): Promise<string> {
  const place = [...(context === undefined ? [] : ["--context", context]), "--namespace", NAMESPACE];
  const { stdout } = await promisify(execFile)("kubectl", [...place, ...args], { maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

/** All objects of a kind, or those with a label. */
export async function list(kind: string, selector?: string): Promise<KubernetesObject[]> {
  const out = await kubectl("get", kind, "--output", "json", ...(selector === undefined ? [] : ["--selector", selector]));
  return (JSON.parse(out) as { items: KubernetesObject[] }).items;
}

/** Where Envoy is: RAGENTS_CLUSTER_URL, or the first node's own address and the NodePort. */
export async function edgeUrl(): Promise<string> {
  const given = process.env["RAGENTS_CLUSTER_URL"];
  if (given !== undefined) return given;
  const addresses = (await list("nodes"))[0]!.status.addresses as { type: string; address: string }[];
  return `http://${addresses.find(({ type }) => type === "InternalIP")!.address}:30080`;
}

/** Asks every second until the condition holds; rejects after `seconds`. Resolves to the seconds that it took. */
export async function until(what: string, seconds: number, condition: () => Promise<boolean>): Promise<number> {
  const started = performance.now();
  for (;;) {
    if (await condition().catch(() => false)) return Math.round((performance.now() - started) / 1000);
    if (performance.now() - started > seconds * 1000) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/** Whether a pod serves: ready and not about to end. */
export function serves({ metadata, status }: KubernetesObject): boolean {
  const conditions = (status.conditions ?? []) as { type: string; status: string }[];
  return metadata.deletionTimestamp === undefined && conditions.some((one) => one.type === "Ready" && one.status === "True");
}

/** Waits until every pod of the mesh serves and none is going, and every Deployment has what it wants. */
export function untilSettled(seconds = 240): Promise<number> {
  return until("all pods ready", seconds, async () => {
    const [pods, deployments, sets] = await Promise.all([list("pods"), list("deployments"), list("statefulsets")]);
    const complete = ({ spec, status }: KubernetesObject) => (status.readyReplicas ?? 0) === spec.replicas && (status.updatedReplicas ?? 0) === spec.replicas;
    return pods.length > 0 && pods.every(serves) && deployments.every(complete) && sets.every(complete);
  });
}
