import { Ajv2020 } from "ajv/dist/2020.js";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { packageRoot } from "../../runtime/package-root.js";

const read = (...path: string[]) => readFileSync(join(packageRoot, ...path), "utf8");

interface Service {
  image: string;
  command?: string[];
  environment?: Record<string, string>;
  depends_on?: string[] | Record<string, unknown>;
  ports?: string[];
  volumes?: string[];
}
const composition = parse(read("compose.yaml"), { merge: true }) as { services: Record<string, Service>; volumes: object };
const { services, volumes } = composition;
const ours = Object.values(services).filter(({ image }) => image.startsWith("ragents-mesh"));

test("the file is what the Compose Specification says", () => {
  // Formats such as durations are checked by Docker alone.
  const isValid = new Ajv2020({ strict: false, validateFormats: false }).compile(JSON.parse(read("third_party", "compose-spec", "compose-spec.json")));
  isValid(composition);
  expect(isValid.errors).toBeNull();
  isValid({ ...composition, services: { envoy: { ...services["envoy"], port: ["8080:8080"] } } });
  expect(isValid.errors).toMatchObject([{ instancePath: "/services/envoy", params: { unevaluatedProperty: "port" } }]);
});

test("compose runs what the manifests run: the same programs, the same stores", () => {
  const manifest = (name: string, kind: string) => parse(read("k8s", "base", name, `${kind}.yaml`)).spec.template.spec.containers[0];
  for (const name of ["gateway", "agent", "rag", "rag-ingest", "cache", "checkpoint", "ratelimit"]) {
    expect(services[name]!.command, name).toEqual(manifest(name, "deployment").args);
    expect(existsSync(join(packageRoot, services[name]!.command![0]!.replace(/^dist\//, "").replace(/\.js$/, ".ts"))), name).toBe(true);
  }
  for (const name of ["postgres", "redis-cache", "redis-state"]) expect(services[name]!.image).toBe(manifest(name, "statefulset").image);
  expect(services["envoy"]!.image).toBe(manifest("envoy", "deployment").image);
  const policy = (name: string) => services[name]!.command![services[name]!.command!.indexOf("--maxmemory-policy") + 1]!;
  for (const name of ["redis-cache", "redis-state"]) expect(read("k8s", "overlays", "minikube", `${name}.conf`)).toContain(`maxmemory-policy ${policy(name)}\n`);
});

test("every name that compose, Envoy and the services call is a service", () => {
  const named = [
    ...Object.values(services).flatMap(({ depends_on = [] }) => (Array.isArray(depends_on) ? depends_on : Object.keys(depends_on))),
    ...ours.flatMap(({ environment = {} }) => Object.entries(environment).flatMap(([key, value]) => (/_(ADDRESS|URL)$/.test(key) ? [...value.matchAll(/(?:@|\/\/\/?)([a-z-]+):\d+/g)].map((match) => match[1]!) : []))),
    ...[...read("gateway", "envoy", "envoy.yaml").matchAll(/socket_address: \{ address: ([a-z-]+), /g)].map((match) => match[1]!),
  ];
  expect(named.length).toBeGreaterThan(20);
  for (const name of named) expect(Object.keys(services)).toContain(name);
});

test("the gateway listens on every port that Envoy calls it at", () => {
  const called = [...read("gateway", "envoy", "envoy.yaml").matchAll(/address: gateway, port_value: (\d+)/g)].map((match) => match[1]!);
  const { RAGENTS_PORT, RAGENTS_AUTHORIZATION_PORT } = services["gateway"]!.environment!;
  expect(new Set(called)).toEqual(new Set([RAGENTS_PORT, RAGENTS_AUTHORIZATION_PORT]));
});

test("only Envoy is seen from outside, and only on this machine; data is on named volumes", () => {
  const open = Object.entries(services).filter(([, { ports }]) => ports !== undefined);
  expect(open.map(([name, { ports }]) => [name, ports])).toEqual([["envoy", ["127.0.0.1:8080:8080"]]]);
  for (const name of ["postgres", "redis-state"]) expect(Object.keys(volumes)).toContain(services[name]!.volumes![0]!.split(":")[0]);
});
