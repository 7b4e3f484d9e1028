import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import { afterAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { authoritySecret, certificateSecret, edgeConfig } from "../../gateway/envoy/edge-config.js";
import { packageRoot } from "../../runtime/package-root.js";
import { createAuthority, issueCertificate } from "../../runtime/tls/authority/authority.js";
import { parseRules } from "../../services/ratelimit/envoy/rules-file.js";
import { envoyFound, envoyProgram } from "../servers/envoy.js";
import { allServices } from "../support/services.js";

const folderOf = join(packageRoot, "gateway", "envoy");
const text = (name: string) => readFileSync(join(folderOf, name), "utf8");
const source = text("envoy.yaml");
const config = parse(source, { maxAliasCount: -1 });
const edge = config.static_resources.listeners.find(({ name }: { name: string }) => name === "edge");
const manager = edge.filter_chains[0].filters[0].typed_config;

describe.skipIf(!(await envoyFound()))("Envoy accepts", () => {
  const folder = mkdtempSync(join(tmpdir(), "ragents-edge-config-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const validate = async (path: string) => {
    const envoy = await envoyProgram();
    const [command, args] =
      envoy === undefined
        ? ["docker", ["run", "--rm", "-v", `${packageRoot}:${packageRoot}`, "-v", `${folder}:${folder}`, "envoyproxy/envoy:v1.40.0", "envoy"]]
        : [envoy, []];
    const { stderr } = await promisify(execFile)(command as string, [...(args as string[]), "--mode", "validate", "-c", path]);
    return stderr;
  };

  test("the file that Kubernetes mounts, without a word of deprecation", async () => {
    const said = await validate(join(folderOf, "envoy.yaml"));
    expect(said).not.toMatch(/deprecat/i);
    expect(said).not.toMatch(/\[(warning|error|critical)\]/);
  });

  test("what `npm run edge` makes of it", async () => {
    const authority = createAuthority(new Date());
    const issued = issueCertificate(authority, ["localhost"], new Date());
    const path = (name: string) => join(folder, name);
    writeFileSync(path("cert.pem"), issued.cert);
    writeFileSync(path("key.pem"), issued.key);
    writeFileSync(path("certificate.yaml"), certificateSecret({ folder, cert: path("cert.pem"), key: path("key.pem") }));
    const listen = { host: "127.0.0.1", edge: 8443, probes: 9190, admin: 9901 };
    writeFileSync(path("ca.pem"), authority.cert);
    writeFileSync(path("authority.yaml"), authoritySecret({ folder, ca: path("ca.pem") }));
    const made = edgeConfig(source, {
      listen,
      endpoints: { gateway: { host: "127.0.0.1", port: 8080, healthPort: 9090 }, cache: { host: "cache.test", port: 9101 } },
      tls: { socket: text("tls.yaml"), certificate: path("certificate.yaml"), http3: true },
      upstreamTls: { certificate: path("certificate.yaml"), authority: path("authority.yaml"), clusters: ["gateway", "cache"] },
    });
    writeFileSync(path("envoy.json"), made);
    expect(await validate(path("envoy.json"))).not.toMatch(/\[(warning|error|critical)\]/);
    const { admin, static_resources: resources } = JSON.parse(made);
    const endpoint = (name: string) => resources.clusters.find((cluster: { name: string }) => cluster.name === name).load_assignment.endpoints[0].lb_endpoints[0].endpoint;
    expect(admin.address.socket_address).toEqual({ address: "127.0.0.1", port_value: 9901 });
    expect(endpoint("cache").address.socket_address).toEqual({ address: "cache.test", port_value: 9101 });
    expect(endpoint("gateway").health_check_config).toEqual({ port_value: 9090 });
    expect(endpoint("authorization").address.socket_address).toEqual({ address: "gateway", port_value: 8081 });
    const [edge, , http3] = resources.listeners;
    expect(http3.address.socket_address).toEqual({ address: "127.0.0.1", port_value: 8443, protocol: "UDP" });
    expect(edge.filter_chains[0].filters[0].typed_config.route_config.response_headers_to_add[0].header).toEqual({ key: "alt-svc", value: 'h3=":8443"; ma=86400' });
    const named = (name: string) => resources.clusters.find((cluster: { name: string }) => cluster.name === name);
    expect(named("cache").transport_socket.typed_config).toMatchObject({ sni: "cache.test", common_tls_context: { alpn_protocols: ["h2"] } });
    expect(named("gateway").transport_socket_matches).toMatchObject([{ transport_socket: { name: "envoy.transport_sockets.raw_buffer" } }]);
    expect(named("rag").transport_socket).toBeUndefined();
    expect(() => edgeConfig(source, { listen, endpoints: { nothing: { host: "a", port: 1 } } })).toThrow("no cluster nothing");
  });
});

describe("the edge's configuration", () => {
  test("keeps the admin interface on loopback, and shows of it what probes and metrics need", () => {
    expect(config.admin.address.socket_address.address).toBe("127.0.0.1");
    const probes = config.static_resources.listeners.find(({ name }: { name: string }) => name === "probes");
    const { routes } = probes.filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0];
    expect(routes.map(({ match }: { match: object }) => match)).toEqual([{ path: "/livez" }, { path: "/readyz" }, { path: "/metrics" }]);
  });

  test("asks who calls and whether the limits allow it before a request goes on, and fails closed for the first", () => {
    expect(manager.http_filters.map(({ name }: { name: string }) => name)).toEqual([
      "envoy.filters.http.ext_authz",
      "envoy.filters.http.ratelimit",
      "envoy.filters.http.router",
    ]);
    expect(manager.http_filters[0].typed_config.failure_mode_allow).toBe(false);
  });

  test("repeats no RPC but those whose proto says that reading them again is harmless", async () => {
    const { routes } = manager.route_config.virtual_hosts[0];
    const regexes: RegExp[] = routes.flatMap(({ match, route }: any) =>
      route.retry_policy !== undefined && match.grpc ? [new RegExp(`^${match.safe_regex.regex}$`)] : [],
    );
    expect(regexes).toHaveLength(5);
    const methods = (await allServices()).flatMap((service) => service.methods);
    const repeated = methods.filter(({ parent, name }) => regexes.some((regex) => regex.test(`/${parent.typeName}/${name}`)));
    expect(repeated.length).toBeGreaterThan(15);
    expect(repeated.filter(({ idempotency }) => idempotency !== Idempotency.NO_SIDE_EFFECTS).map(({ name }) => name)).toEqual([]);
  });

  test("lets every service be found, with outlier detection, circuit breakers and a budget of retries", () => {
    const clusters = config.static_resources.clusters.filter(({ name }: { name: string }) => name !== "admin");
    expect(clusters.map(({ name }: { name: string }) => name)).toEqual(["gateway", "authorization", "agent", "rag", "cache", "checkpoint", "ratelimit"]);
    for (const cluster of clusters) {
      expect(cluster, cluster.name).toMatchObject({
        lb_policy: "LEAST_REQUEST",
        outlier_detection: expect.anything(),
        circuit_breakers: { thresholds: [{ retry_budget: expect.anything() }] },
      });
    }
  });

  test("logs no header that could hold a secret, and no query string", () => {
    const fields = Object.values(manager.access_log[0].typed_config.log_format.json_format as Record<string, string>).join(" ");
    expect([...fields.matchAll(/%REQ\(([^)]*)\)/g)].map(([, name]) => name)).toEqual([":METHOD", "X-REQUEST-ID"]);
    expect(fields).not.toMatch(/:PATH|%PATH\(OR/);
  });

  test("comes with limits that the rate limit service reads", () => {
    expect([...parseRules([text("limits.yaml")]).keys()]).toEqual([manager.http_filters[1].typed_config.domain]);
  });
});
