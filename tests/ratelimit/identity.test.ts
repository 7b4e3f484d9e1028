import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeCertificates } from "../../cli/ca.js";
import { rotateIdentityKeys } from "../../cli/identity-keys.js";
import { PriorityQueue, RateLimiter } from "../../clients/ratelimit/index.js";
import { Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { backgroundCall, type Identity, runInCall } from "../../runtime/call-context.js";
import { systemClock } from "../../runtime/clock.js";
import { reasonOf } from "../../runtime/errors.js";
import { silentLogger } from "../../runtime/logger.js";
import { type MeshSecurity, meshSecurity, openProcessSecurity, type ProcessSecurity } from "../../runtime/mesh-security.js";
import { createMetrics } from "../../runtime/metrics.js";
import type { RunningService } from "../../runtime/service.js";
import { startRateLimitService } from "../../services/ratelimit/service.js";
import { failureOf } from "../failure-of.js";

const LIMITS = `
tiers:
  default: { burst: 2, per_hour: 1 }
  gold: { burst: 5, per_hour: 1 }
keys:
  - { key: nightly, tenant: acme, limit: { burst: 1, per_hour: 1 } }
`;

/** How many requests of one at once pass for this caller. */
async function passing(limiter: RateLimiter, identity: Identity, key: string): Promise<number> {
  return runInCall(backgroundCall(identity, "request", new AbortController().signal), async () => {
    let passed = 0;
    while ((await limiter.check(key)).allowed) passed += 1;
    return passed;
  });
}

describe("a rate limiter that callers reach by TLS and signed identities", () => {
  const folder = mkdtempSync(join(tmpdir(), "ragents-ratelimit-"));
  const path = (name: string) => join(folder, name);
  const processes: ProcessSecurity[] = [];
  let service: RunningService;
  let caller: MeshSecurity;

  async function securityOf(name: string): Promise<MeshSecurity> {
    const tls = { RAGENTS_TLS_CERT: path(`${name}.pem`), RAGENTS_TLS_KEY: path(`${name}-key.pem`), RAGENTS_TLS_CA: path("ca.pem") };
    const process = await openProcessSecurity({ ...tls, RAGENTS_IDENTITY_KEYS: path("keys.json") }, { logger: silentLogger, clock: systemClock });
    processes.push(process);
    return meshSecurity({ process, service: name, clock: systemClock, required: () => true });
  }

  beforeAll(async () => {
    makeCertificates(folder, {});
    rotateIdentityKeys(path("keys.json"), {});
    writeFileSync(path("limits.yaml"), LIMITS);
    service = await startRateLimitService(
      { RAGENTS_RATELIMIT_PORT: "0", RAGENTS_RATELIMIT_CONFIG: path("limits.yaml") },
      { logger: silentLogger, metrics: createMetrics(), clock: systemClock, security: await securityOf("ratelimit") },
    );
    caller = await securityOf("agent");
  });
  afterAll(async () => {
    await service.stop(1_000);
    for (const process of processes) process.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test("limits each by the tier of its identity, each tenant by itself, and by a tenant's own rule first", async () => {
    const limiter = new RateLimiter({ address: service.address, security: caller.channel, patienceMs: 10_000 });
    expect(await passing(limiter, { tenant: "acme" }, "user")).toBe(2);
    expect(await passing(limiter, { tenant: "acme", tier: "gold" }, "other-user")).toBe(5);
    expect(await passing(limiter, { tenant: "globex" }, "user")).toBe(2);
    expect(await passing(limiter, { tenant: "acme", tier: "gold" }, "nightly")).toBe(1);
    expect(await passing(limiter, { tenant: "globex", tier: "gold" }, "nightly")).toBe(5);
    await limiter.close();
  });

  test("hands an item to a worker of the mesh, for the tenant that put it in", async () => {
    const queue = new PriorityQueue({ address: service.address, security: caller.channel });
    const call = backgroundCall({ tenant: "acme", roles: [Role.WRITER] }, "request", new AbortController().signal);
    await runInCall(call, () => queue.enqueue("work"));
    const controller = new AbortController();
    const seen: string[] = [];
    const working = queue.work(async ({ tenant }) => void seen.push(tenant), { signal: controller.signal });
    await expect.poll(() => seen, { timeout: 10_000 }).toEqual(["acme"]);
    controller.abort();
    await working;
    queue.close();
  });

  test("refuses a certificate without an identity", async () => {
    const security = { credentials: caller.channel.credentials };
    const limiter = new RateLimiter({ address: service.address, security, patienceMs: 10_000 });
    const error = await failureOf(limiter.check("user"));
    await limiter.close();
    expect([error.code, reasonOf(error)]).toEqual([Code.Unauthenticated, "CREDENTIALS_MISSING"]);
  });

  test("has no connection for one without a certificate", async () => {
    const limiter = new RateLimiter({ address: service.address, patienceMs: 2_000, onUnavailable: "closed" });
    expect(await limiter.check("user")).toMatchObject({ allowed: false, degraded: true });
    await limiter.close();
  });
});
