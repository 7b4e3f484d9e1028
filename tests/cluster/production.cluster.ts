import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseAllDocuments, stringify } from "yaml";
import { packageRoot } from "../../runtime/package-root.js";
import { ragents } from "../support/ragents.js";
import { edgeUrl, kubectl, type KubernetesObject, serves, until } from "./kubectl.js";

/** Beside the mesh of the other tests. */
const NAMESPACE = "ragents-check";
const PODS = 11;
const overlay = (name: string) => join(packageRoot, "tests", "cluster", name);
const inNamespace = (...args: string[]) => kubectl("--namespace", NAMESPACE, ...args);
const secret = () => randomBytes(24).toString("hex");

beforeAll(async () => {
  await kubectl("create", "namespace", NAMESPACE);
});
afterAll(async () => {
  await kubectl("delete", "namespace", NAMESPACE, "--wait=true");
});

test("the production overlay is accepted by the API server, strictly", async () => {
  const out = await inNamespace("apply", "--dry-run=server", "--validate=strict", "--kustomize", overlay("production"));
  expect(out.split("\n").filter((line) => line.includes("server dry run")).length).toBeGreaterThan(60);
});

test("with the Secrets of its example filled in it starts at once, and answers those who have a key", async () => {
  const adminKey = secret();
  await applySecrets(adminKey);
  await inNamespace("apply", "--validate=strict", "--kustomize", overlay("small-production"));
  const pods = async () => (JSON.parse(await inNamespace("get", "pods", "--output", "json")) as { items: KubernetesObject[] }).items;
  const seconds = await until("all pods ready", 300, async () => {
    const all = await pods();
    return all.length === PODS && all.every(serves);
  });
  process.stdout.write(`    ${PODS} pods ready after ${seconds} s\n`);
  // The gateway waits for the database of its keys, as the others wait for theirs.
  expect((await pods()).filter(({ status }) => status.containerStatuses[0].restartCount > 0).map(({ metadata }) => metadata.name)).toEqual([]);

  const edge = (await edgeUrl()).replace(/:\d+$/, ":30081");
  const post = (path: string, body: unknown, key?: string) =>
    fetch(edge + path, { method: "POST", headers: { "content-type": "application/json", ...(key !== undefined && { "x-api-key": key }) }, body: JSON.stringify(body) });
  const question = { query: "What does the otter eat?" };
  // Pods are ready before Envoy has read that in DNS.
  await until("Envoy's way to the gateway", 60, async () => (await fetch(`${edge}/health`)).status === 200);
  expect((await post("/query", question)).status).toBe(401);
  const made = await post("/v1/keys", { display_name: "first", roles: ["admin"] }, adminKey);
  expect(made.status, await made.clone().text()).toBe(200);
  const { secret: key } = (await made.json()) as { secret: string };
  const job = (await (await post("/v1/collections/default/documents:ingest", { documents: [{ id: "otter", text: "The otter eats eels." }] }, key)).json()) as { id: string };
  await until("the ingestion", 60, async () => (await (await fetch(`${edge}/v1/jobs/${job.id}`, { headers: { "x-api-key": key } })).text()).includes('"SUCCEEDED"'));
  const answer = await post("/query", question, key);
  expect(answer.status, await answer.clone().text()).toBe(200);
  expect(((await answer.json()) as { response: string }).response).toContain("eels");
});

/** Makes the Secrets as the example's comments say. */
async function applySecrets(adminKey: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "ragents-secrets-"));
  try {
    const [signing, open] = [join(folder, "signing-keys"), join(folder, "public-keys")];
    const { code, stderr } = await ragents(["identity-keys", signing, "--public", open]);
    expect(code, stderr).toBe(0);
    const example = await readFile(join(packageRoot, "k8s", "overlays", "production", "secrets.yaml.example"), "utf8");
    const [stores, identity] = parseAllDocuments(example.replaceAll("CHANGE-ME", secret())).map((document) => document.toJS());
    identity.stringData = { "admin-key": adminKey, "signing-keys": await readFile(signing, "utf8"), "public-keys": await readFile(open, "utf8") };
    for (const { metadata } of [stores, identity]) metadata.namespace = NAMESPACE;
    const file = join(folder, "secrets.yaml");
    await writeFile(file, [stores, identity].map((one) => stringify(one)).join("---\n"), { mode: 0o600 });
    await inNamespace("apply", "--validate=strict", "--filename", file);
  } finally {
    await rm(folder, { recursive: true });
  }
}
