import { createClient } from "@connectrpc/connect";
import { compactVerify } from "jose";
import { Registry } from "prom-client";
import { ApiKeys } from "../gateway/identity/api-keys.js";
import { createAuthenticator } from "../gateway/identity/authenticator.js";
import { newApiKey } from "../gateway/identity/api-key.js";
import { openSqlKeyStore } from "../gateway/identity/key-store-sql.js";
import { upstreamHeaders } from "../gateway/upstream-headers.js";
import { Role } from "../gen/ragents/auth/v1/access_pb.js";
import { GatewayService } from "../gen/ragents/gateway/v1/gateway_service_pb.js";
import { RagService } from "../gen/ragents/rag/v1/rag_service_pb.js";
import { backgroundCall, type Identity, runInCall } from "../runtime/call-context.js";
import { systemClock } from "../runtime/clock.js";
import { mount, startGrpcServer } from "../runtime/grpc-server.js";
import { createGrpcTransport } from "../runtime/grpc-transport.js";
import { processKeys } from "../runtime/identity/identity-keys.js";
import { TokenIssuer } from "../runtime/identity/token-issuer.js";
import { TokenVerifier } from "../runtime/identity/token-verifier.js";
import { silentLogger } from "../runtime/logger.js";
import { meshSecurity, type ProcessSecurity } from "../runtime/mesh-security.js";
import { createMetrics } from "../runtime/metrics.js";
import { serverInterceptors } from "../runtime/server-interceptors.js";
import { openPglite } from "../runtime/sql/pglite.js";
import { type Bench, type Figure, figure, inTurns } from "./figure.js";

/** What a cached key check may cost, in microseconds. */
const BUDGET_US = 20;
const ROUNDS = 5;
const ROUND_MS = 500;
const CONCURRENCY = 64;

const clock = systemClock;
const alice: Identity = { tenant: "acme", user: "alice", roles: [Role.READER], tier: "gold" };
const processSecurity: ProcessSecurity = { keys: processKeys(clock), tls: undefined, close: () => {} };
const securityOf = (service: string) => meshSecurity({ process: processSecurity, service, clock, required: () => true });

/** Microseconds that one call of `work` takes, one after the other. */
async function microseconds(work: () => unknown): Promise<number> {
  const started = performance.now();
  let done = 0;
  while (performance.now() - started < ROUND_MS) {
    for (let i = 0; i < 50; i += 1) await work();
    done += 50;
  }
  return ((performance.now() - started) * 1_000) / done;
}

/** Many keys in the embedded database, one of them in use. */
async function openKeys() {
  const db = await openPglite();
  const store = await openSqlKeyStore(db);
  const made = Array.from({ length: 1_000 }, newApiKey);
  for (const { id, hash } of made) {
    const key = { id, displayName: "", tenant: "acme", user: "alice", roles: [Role.READER], tier: "gold", created: new Date() };
    await store.add({ ...key, expires: undefined, revoked: undefined, lastUsed: undefined }, hash, undefined);
  }
  return { store, checker: await ApiKeys.open({ store, clock, logger: silentLogger }), secret: made[500]!.secret, id: made[500]!.id };
}

/** Calls a second of an RPC that does nothing, by a service with or without identities. */
async function openCalls(secured: boolean) {
  const server = await startGrpcServer({
    host: "127.0.0.1",
    port: 0,
    services: [mount(GatewayService, { getHealth: () => ({}) })],
    interceptors: serverInterceptors({ logger: silentLogger, metrics: createMetrics(), clock, security: secured ? securityOf("cache") : undefined }),
  });
  const transport = createGrpcTransport({ address: server.address, services: [], security: secured ? securityOf("agent").channel : undefined });
  const client = createClient(GatewayService, transport);
  const call = backgroundCall(alice, "bench", new AbortController().signal);
  return {
    async throughput() {
      const started = performance.now();
      let calls = 0;
      const worker = async () => {
        for (; performance.now() - started < ROUND_MS; calls += 1) await runInCall(call, () => client.getHealth({}));
      };
      await Promise.all(Array.from({ length: CONCURRENCY }, worker));
      return (calls * 1_000) / (performance.now() - started);
    },
    async close() {
      transport.close();
      await server.drain(0);
    },
  };
}

async function run(): Promise<Figure[]> {
  const { store, checker, secret, id } = await openKeys();
  const [secured, open] = [await openCalls(true), await openCalls(false)];
  try {
    const authenticator = createAuthenticator({ keys: checker });
    const headers: Record<string, string> = { authorization: `Bearer ${secret}`, "x-request-id": "1" };
    const upstream = upstreamHeaders({ authenticator, security: securityOf("gateway"), registry: new Registry() });
    const method = RagService.method.retrieve;
    const key = await inTurns(ROUNDS, () => microseconds(() => checker.identity(secret)), () => microseconds(() => store.find(id)));
    const request = await microseconds(() => upstream((name) => headers[name], method));

    const token = new TokenIssuer({ keys: processSecurity.keys!, clock, issuer: "gateway" }).token(alice, "a");
    const verifier = new TokenVerifier({ keys: processSecurity.keys!, clock });
    const checked = await inTurns(
      ROUNDS,
      () => microseconds(() => verifier.identity(token, "a")),
      () => microseconds(() => compactVerify(token, ({ kid }) => processSecurity.keys!.publicKey(kid!)!)),
    );
    const calls = await inTurns(ROUNDS, secured.throughput, open.throughput);
    return [
      figure({ name: "cached key check, beside its budget", ours: key.ours, peer: BUDGET_US, unit: "us", aim: 1, better: "lower" }),
      figure({ name: "cached key check, beside asking the embedded database", ...key, unit: "us", aim: 10, better: "lower" }),
      figure({ name: "request authenticated and vouched for, beside the budget", ours: request, peer: BUDGET_US, unit: "us", aim: 1, better: "lower" }),
      figure({ name: "identity checked, beside jose verifying it each time", ...checked, unit: "us", aim: 10, better: "lower" }),
      figure({ name: "gRPC calls with identities, beside calls without, c=64", ...calls, unit: "calls/s", aim: 0.9, better: "higher" }),
    ];
  } finally {
    await secured.close();
    await open.close();
    await checker.close();
  }
}

export const bench: Bench = { packages: ["jose", "@electric-sql/pglite", "@grpc/grpc-js"], run };
