import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../runtime/clock.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import type { RunningService } from "../../runtime/service.js";
import { startRateLimitService } from "../../services/ratelimit/service.js";
import { envoyFound, type EnvoyServer, startEnvoy } from "../servers/envoy.js";
import { freePort } from "../servers/free-port.js";

const RULES = `
domain: edge
descriptors:
  - { key: user, rate_limit: { unit: hour, requests_per_unit: 3 } }
  - { key: batch, rate_limit: { unit: hour, requests_per_unit: 5 } }
  - { key: tokens, rate_limit: { unit: hour, requests_per_unit: 100, already_spent: true } }
  - { key: user, value: guest, rate_limit: { unit: day, requests_per_unit: 1 } }
`;

/** Asks the rate limit service about the header x-user, and passes what may pass to the upstream. */
const config = (ports: { listener: number; limiter: number; upstream: number }) => `
static_resources:
  listeners:
    - address: { socket_address: { address: 127.0.0.1, port_value: ${ports.listener} } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: test
                http_filters:
                  - name: envoy.filters.http.ratelimit
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit
                      domain: edge
                      timeout: 5s
                      failure_mode_deny: true
                      enable_x_ratelimit_headers: DRAFT_VERSION_03
                      rate_limit_service:
                        transport_api_version: V3
                        grpc_service: { envoy_grpc: { cluster_name: limiter } }
                  - name: envoy.filters.http.router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                        - match: { prefix: / }
                          route: { cluster: upstream }
                          typed_per_filter_config:
                            envoy.filters.http.ratelimit:
                              "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute
                              rate_limits:
                                - actions: [{ request_headers: { header_name: x-user, descriptor_key: user } }]
                                - actions: [{ request_headers: { header_name: x-batch, descriptor_key: batch } }]
                                  hits_addend: { number: 2 }
                                - actions: [{ request_headers: { header_name: x-refund, descriptor_key: batch } }]
                                  hits_addend: { number: 2, is_negative_hits: true }
                                - actions: [{ request_headers: { header_name: x-tokens, descriptor_key: tokens } }]
                                  hits_addend: { number: 0 }
                                - actions: [{ request_headers: { header_name: x-tokens, descriptor_key: tokens } }]
                                  hits_addend: { number: 60 }
                                  apply_on_stream_done: true
  clusters:
    - name: upstream
      load_assignment:
        cluster_name: upstream
        endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${ports.upstream} } } } }] }]
    - name: limiter
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http2_protocol_options: {} }
      load_assignment:
        cluster_name: limiter
        endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${ports.limiter} } } } }] }]
`;

describe.skipIf(!(await envoyFound()))("a real Envoy", () => {
  let folder: string;
  let upstream: Server;
  let service: RunningService;
  let envoy: EnvoyServer;
  let url: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "ragents-rules-"));
    const rules = join(folder, "rules.yaml");
    await writeFile(rules, RULES);
    upstream = createServer((_request, response) => response.end("passed")).listen(0, "127.0.0.1");
    service = await startRateLimitService(
      { RAGENTS_RATELIMIT_PORT: "0", RAGENTS_RATELIMIT_ENVOY_CONFIG: rules },
      { logger: silentLogger, metrics: createMetrics(), clock: systemClock },
    );
    const listener = await freePort();
    const limiter = Number(service.address.split(":")[1]);
    envoy = await startEnvoy(config({ listener, limiter, upstream: (upstream.address() as AddressInfo).port }));
    url = `http://127.0.0.1:${listener}/`;
  }, 120_000);

  afterAll(async () => {
    await envoy?.stop();
    await service?.stop(1_000);
    upstream?.close();
    upstream?.closeAllConnections();
    await rm(folder, { recursive: true, force: true });
  });

  const get = async (user?: string) => {
    const response = await fetch(url, { headers: user === undefined ? {} : { "x-user": user } });
    await response.text();
    return response;
  };

  const remaining = async (header: string) => {
    const response = await fetch(url, { headers: { [header]: "a" } });
    await response.text();
    return [response.status, response.headers.get("ratelimit-remaining")];
  };

  test("lets pass what the rules allow, refuses the rest, and tells clients where they stand", async () => {
    const remaining: unknown[] = [];
    for (let i = 0; i < 3; i += 1) {
      const response = await get("ann");
      expect(response.status).toBe(200);
      remaining.push(response.headers.get("ratelimit-remaining"), response.headers.get("x-ratelimit-remaining"));
    }
    expect(remaining).toEqual(["2", "2", "1", "1", "0", "0"]);

    const refused = await get("ann");
    expect(refused.status).toBe(429);
    expect(refused.headers.get("x-envoy-ratelimited")).toBe("true");
    expect(refused.headers.get("ratelimit-limit")).toBe("3, 3;w=3600");
    expect(refused.headers.get("x-ratelimit-limit")).toMatch(/^3, 3;w=3600/);
    const seconds = Number(refused.headers.get("retry-after"));
    expect(seconds).toBeGreaterThan(1_100);
    expect(seconds).toBeLessThanOrEqual(1_200);
    expect(Number(refused.headers.get("x-ratelimit-reset"))).toBeGreaterThan(1_100);
  });

  test("keeps users apart, and knows the more exact rule", async () => {
    expect((await get("bob")).status).toBe(200);
    expect((await get("guest")).status).toBe(200);
    const refused = await get("guest");
    expect([refused.status, refused.headers.get("ratelimit-limit")]).toEqual([429, "1, 1;w=86400"]);
  });

  test("counts as many hits as the route says", async () => {
    expect([await remaining("x-batch"), await remaining("x-batch"), await remaining("x-batch")]).toEqual([[200, "3"], [200, "1"], [429, "1"]]);
  });

  test("gives back what the route says", async () => {
    expect([await remaining("x-refund"), await remaining("x-batch"), await remaining("x-batch")]).toEqual([[200, "3"], [200, "1"], [429, "1"]]);
  });

  test("counts what is spent when a response is done, and refuses when nothing is left", async () => {
    expect(await remaining("x-tokens")).toEqual([200, "100"]);
    // Envoy counts after the response; the second time there is less left than it counts.
    await expect.poll(() => remaining("x-tokens"), { timeout: 10_000 }).toEqual([429, "0"]);
  });

  test("does not limit what has no descriptor", async () => {
    for (let i = 0; i < 5; i += 1) expect((await get()).status).toBe(200);
  });

  test("counts no failure of the service", async () => {
    const stats = await (await fetch(`${envoy.admin}/stats?filter=ratelimit`)).text();
    expect(stats).toMatch(/cluster\.upstream\.ratelimit\.ok: [1-9]/);
    expect(stats).toMatch(/cluster\.upstream\.ratelimit\.over_limit: [1-9]/);
    expect(stats).not.toMatch(/cluster\.upstream\.ratelimit\.error: [1-9]/);
  });
});
