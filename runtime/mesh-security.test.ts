import type { DescService } from "@bufbuild/protobuf";
import { Code, createClient, type ServiceImpl } from "@connectrpc/connect";
import { afterEach, describe, expect, test } from "vitest";
import { AgentService } from "../gen/ragents/agent/v1/agent_service_pb.js";
import { Role } from "../gen/ragents/auth/v1/access_pb.js";
import { CacheService } from "../gen/ragents/cache/v1/cache_service_pb.js";
import { CheckpointService } from "../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { GatewayService } from "../gen/ragents/gateway/v1/gateway_service_pb.js";
import { IdentityService } from "../gen/ragents/gateway/v1/identity_service_pb.js";
import { failureOf } from "../tests/failure-of.js";
import { backgroundCall, currentCall, type Identity, runInCall } from "./call-context.js";
import { systemClock } from "./clock.js";
import { meshError, reasonOf } from "./errors.js";
import { type GrpcServer, mount, startGrpcServer } from "./grpc-server.js";
import { createGrpcTransport, type GrpcTransport } from "./grpc-transport.js";
import { processKeys } from "./identity/identity-keys.js";
import { IDENTITY_HEADER } from "./identity/identity-token.js";
import { type LogFields, type Logger, silentLogger } from "./logger.js";
import { meshSecurity, openProcessSecurity, type ProcessSecurity } from "./mesh-security.js";
import { createMetrics } from "./metrics.js";
import { serverInterceptors } from "./server-interceptors.js";
import type { Span } from "./tracing/span.js";
import { newSpanId, newTraceId } from "./tracing/trace-ids.js";
import { inMessageSpan, Tracer } from "./tracing/tracer.js";

const open: (GrpcServer | GrpcTransport)[] = [];

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await ("drain" in one ? one.drain(0) : one.close());
});

const keyed = (): ProcessSecurity => ({ keys: processKeys(systemClock), tls: undefined, close: () => {} });

function securityOf(process: ProcessSecurity, service: string, required = true) {
  return meshSecurity({ process, service, clock: systemClock, required: () => required });
}

/** A service with some of its handlers, as the mesh runs it. */
async function serve<S extends DescService>(
  service: S,
  handlers: Partial<ServiceImpl<S>>,
  security = securityOf(keyed(), "test"),
  logger: Logger = silentLogger,
  tracer?: Tracer,
): Promise<{ address: string; metrics: ReturnType<typeof createMetrics> }> {
  const others = Object.fromEntries(service.methods.map(({ localName, name }) => [localName, () => expect.fail(`${name} was called`)]));
  const metrics = createMetrics();
  const server = await startGrpcServer({
    host: "127.0.0.1",
    port: 0,
    services: [mount(service, { ...others, ...handlers } as ServiceImpl<S>)],
    interceptors: serverInterceptors({ logger, metrics, clock: systemClock, security, tracer }),
  });
  open.push(server);
  return { address: server.address, metrics };
}

function clientOf<S extends DescService>(service: S, address: string, security?: ReturnType<typeof securityOf>) {
  const transport = createGrpcTransport({ address, services: [service], security: security?.channel });
  open.push(transport);
  return createClient(service, transport);
}

const as = <T>(identity: Identity, work: () => T): T => runInCall(backgroundCall(identity, "request-1", new AbortController().signal), work);
const reader: Identity = { tenant: "acme", user: "alice", roles: [Role.READER], tier: "gold" };

describe("a service that requires an identity", () => {
  test("sees the identity that the gateway vouches for, in unary calls and in every step of a stream", async () => {
    const mesh = keyed();
    const seen: unknown[] = [];
    const { address } = await serve(
      AgentService,
      {
        query: () => ({ response: JSON.stringify(currentCall()?.identity) }),
        async *streamQuery() {
          for (let i = 0; i < 3; i += 1) {
            seen.push(currentCall()?.identity.user);
            yield {};
          }
        },
      },
      securityOf(mesh, "agent"),
    );
    const client = clientOf(AgentService, address, securityOf(mesh, "gateway"));
    expect(JSON.parse((await as(reader, () => client.query({ query: "q" }))).response)).toEqual(reader);
    await as(reader, async () => {
      for await (const _ of client.streamQuery({ query: "q" }));
    });
    expect(seen).toEqual(["alice", "alice", "alice"]);
  });

  test("refuses calls without one, and counts them", async () => {
    const { address, metrics } = await serve(AgentService, {});
    const error = await failureOf(clientOf(AgentService, address).query({ query: "q" }));
    expect([error.code, reasonOf(error)]).toEqual([Code.Unauthenticated, "CREDENTIALS_MISSING"]);
    expect(await metrics.registry.metrics()).toMatch(/grpc_server_handled_total\{[^}]*grpc_code="Unauthenticated"\} 1/);
  });

  test("refuses one that this mesh did not sign", async () => {
    const { address } = await serve(AgentService, {});
    const stranger = clientOf(AgentService, address, securityOf(keyed(), "gateway"));
    const error = await failureOf(as(reader, () => stranger.query({ query: "q" })));
    expect([error.code, reasonOf(error)]).toEqual([Code.Unauthenticated, "CREDENTIALS_INVALID"]);
  });

  test("refuses one that was captured on its way to another service", async () => {
    const mesh = keyed();
    let captured = "";
    const agent = await serve(
      AgentService,
      {
        query(_, { requestHeader }) {
          captured = requestHeader.get(IDENTITY_HEADER) ?? "";
          return {};
        },
      },
      securityOf(mesh, "agent"),
    );
    const cache = await serve(CacheService, {}, securityOf(mesh, "cache"));
    await as(reader, () => clientOf(AgentService, agent.address, securityOf(mesh, "gateway")).query({ query: "q" }));
    const headers = { [IDENTITY_HEADER]: captured };
    const error = await failureOf(clientOf(CacheService, cache.address).getStats({}, { headers }));
    expect(reasonOf(error)).toBe("CREDENTIALS_INVALID");
  });

  test("answers what is open to everybody", async () => {
    const { address } = await serve(GatewayService, { getHealth: () => ({ status: currentCall()?.identity.tenant === "" ? "healthy" : "?" }) });
    expect((await clientOf(GatewayService, address).getHealth({})).status).toBe("healthy");
  });

  test("lets a service do for a reader what readers may not do themselves", async () => {
    const mesh = keyed();
    const seen: unknown[] = [];
    const checkpoint = await serve(
      CheckpointService,
      {
        deleteThread() {
          seen.push(currentCall()?.identity);
          return {};
        },
      },
      securityOf(mesh, "checkpoint"),
    );
    const forAgent = securityOf(mesh, "agent");
    const behind = clientOf(CheckpointService, checkpoint.address, forAgent);
    const agent = await serve(
      AgentService,
      {
        async query() {
          await behind.deleteThread({ threadId: "t" });
          return {};
        },
      },
      forAgent,
    );
    const gateway = securityOf(mesh, "gateway");
    await as(reader, () => clientOf(AgentService, agent.address, gateway).query({ query: "q" }));
    expect(seen).toEqual([{ ...reader, service: "agent" }]);

    const direct = clientOf(CheckpointService, checkpoint.address, gateway);
    const error = await failureOf(as(reader, () => direct.deleteThread({ threadId: "t" })));
    expect([error.code, reasonOf(error)]).toEqual([Code.PermissionDenied, "ROLE_MISSING"]);
    expect(error.rawMessage).toBe("DeleteThread needs the role writer.");
  });

  test.each([
    { roles: [], may: "000" },
    { roles: undefined, may: "000" },
    { roles: [Role.READER], may: "100" },
    { roles: [Role.WRITER], may: "110" },
    { roles: [Role.ADMIN], may: "111" },
    { roles: [Role.READER, Role.ADMIN], may: "111" },
  ])("lets $roles read, write and administrate: $may", async ({ roles, may }) => {
    const mesh = keyed();
    const gateway = securityOf(mesh, "gateway");
    const done = { getStats: () => ({}), batchPut: () => ({}), clear: () => ({}) };
    const { address } = await serve(CacheService, done, securityOf(mesh, "cache"));
    const client = clientOf(CacheService, address, gateway);
    const put = { entries: [{ scope: { kind: 1, collection: "c" }, textHash: new Uint8Array(32), value: new Uint8Array(1) }] };
    const calls = [() => client.getStats({}), () => client.batchPut(put as never), () => client.clear({})];
    const outcomes = calls.map((call: () => Promise<unknown>) =>
      as({ tenant: "acme", roles }, call).then(
        () => "1",
        (error: unknown) => (reasonOf(error) === "ROLE_MISSING" ? "0" : "1"),
      ),
    );
    expect((await Promise.all(outcomes)).join("")).toBe(may);
  });
});

describe("a service that requires none", () => {
  test("takes callers without one for the local tenant, who may do everything", async () => {
    const { address } = await serve(
      CacheService,
      { clear: () => ({ removed: currentCall()?.identity.tenant === "local" ? 1n : 0n }) },
      securityOf(keyed(), "cache", false),
    );
    expect((await clientOf(CacheService, address).clear({})).removed).toBe(1n);
  });

  test("still sees the identity that a call brings", async () => {
    const mesh = keyed();
    const { address } = await serve(
      AgentService,
      { query: () => ({ response: currentCall()?.identity.tenant ?? "" }) },
      securityOf(mesh, "agent", false),
    );
    const client = clientOf(AgentService, address, securityOf(mesh, "gateway"));
    expect((await as(reader, () => client.query({ query: "q" }))).response).toBe("acme");
  });

  test("refuses an identity that it has no keys to check, instead of taking it for the local tenant", async () => {
    const process: ProcessSecurity = { keys: undefined, tls: undefined, close: () => {} };
    const { address } = await serve(AgentService, {}, securityOf(process, "agent", false));
    const client = clientOf(AgentService, address, securityOf(keyed(), "gateway"));
    const error = await failureOf(as(reader, () => client.query({ query: "q" })));
    expect([error.code, reasonOf(error)]).toEqual([Code.Unauthenticated, "CREDENTIALS_INVALID"]);
    expect(error.rawMessage).toContain("RAGENTS_IDENTITY_KEYS");
  });
});

describe("the audit log", () => {
  const admin: Identity = { tenant: "acme", user: "root", roles: [Role.ADMIN] };

  async function audited(identity: Identity, call: (client: ReturnType<typeof clientOf<typeof IdentityService>>) => Promise<unknown>, from = "gateway") {
    const mesh = keyed();
    const lines: LogFields[] = [];
    const logger: Logger = { ...silentLogger, audit: (fields) => void lines.push(fields) };
    const { address } = await serve(
      IdentityService,
      {
        getIdentity: () => ({}),
        createApiKey: () => ({ secret: "ragents_secret" }),
        revokeApiKey() {
          throw meshError(Code.NotFound, ErrorReason.KEY_NOT_FOUND, "No key of that id.");
        },
      },
      securityOf(mesh, "gateway"),
      logger,
    );
    const client = clientOf(IdentityService, address, securityOf(mesh, from));
    await as(identity, () => call(client)).catch(() => {});
    return lines;
  }

  test("has a line for an administrative call, with the fields that the schema marks", async () => {
    const request = { displayName: "ci", roles: [Role.WRITER], idempotencyKey: "not to be logged" };
    expect(await audited(admin, (client) => client.createApiKey(request))).toEqual([
      {
        rpc: "ragents.gateway.v1.IdentityService/CreateApiKey",
        tenant: "acme",
        user: "root",
        request_id: "request-1",
        request: { display_name: "ci", roles: ["ROLE_WRITER"] },
        code: "OK",
        reason: undefined,
      },
    ]);
  });

  test("has one for a call that failed, and for one that was not allowed", async () => {
    const request = { key: "ragents_aaaaaaaaaaaa" };
    const failed = await audited(admin, (client) => client.revokeApiKey(request));
    expect(failed).toMatchObject([{ request, code: "NotFound", reason: "KEY_NOT_FOUND" }]);
    const refused = await audited(reader, (client) => client.revokeApiKey(request));
    expect(refused).toMatchObject([{ user: "alice", request, code: "PermissionDenied", reason: "ROLE_MISSING" }]);
  });

  test("does not show a request that breaks the schema: a secret may stand in the wrong field", async () => {
    const [line] = await audited(admin, (client) => client.revokeApiKey({ key: "ragents_aaaaaaaaaaaa_the-whole-secret" }));
    expect(line).toMatchObject({ code: "InvalidArgument" });
    expect(JSON.stringify(line)).not.toContain("whole-secret");
  });

  test("leaves out what is not administrative, and what services do of themselves", async () => {
    expect(await audited(admin, (client) => client.getIdentity({}))).toEqual([]);
    expect(await audited(admin, (client) => client.createApiKey({ roles: [Role.READER] }), "agent")).toEqual([]);
  });
});

test("where a message of a stream belongs in a trace is the mesh's word, nobody else's", async () => {
  const mesh = keyed();
  const spans: Span[] = [];
  const tracer = new Tracer({ service: "checkpoint", clock: systemClock, sinks: [{ accept: (span) => spans.push(span) }] });
  const security = securityOf(mesh, "checkpoint", false);
  const handlers: Partial<ServiceImpl<typeof CheckpointService>> = {
    async *streamPuts(requests) {
      for await (const { putId, ...origin } of requests) yield inMessageSpan("put", origin, async () => ({ putId }));
    },
  };
  const { address } = await serve(CheckpointService, handlers, security, silentLogger, tracer);
  const put = { case: "writes" as const, value: { threadId: "t" } };
  const [traceId, parentId] = [newTraceId("acme"), newSpanId()];
  const puts = async function* () {
    yield { putId: 1, put, trace: `${traceId}/${parentId}`, requestId: "request-2" };
    yield { putId: 2, put };
  };
  const writer: Identity = { tenant: "acme", roles: [Role.WRITER] };
  for (const client of [clientOf(CheckpointService, address), clientOf(CheckpointService, address, securityOf(mesh, "agent"))]) {
    await as(writer, async () => {
      for await (const _ of client.streamPuts(puts()));
    });
  }
  expect(spans).toMatchObject([{ traceId, parentId, name: "put", service: "checkpoint", tenant: "acme", requestId: "request-2" }]);
});

test("a process refuses half of a TLS configuration", async () => {
  const host = { logger: silentLogger, clock: systemClock };
  await expect(openProcessSecurity({ RAGENTS_TLS_CERT: "a", RAGENTS_TLS_KEY: "b" }, host)).rejects.toThrow("all three");
  await expect(openProcessSecurity({ RAGENTS_IDENTITY_KEYS: "/nowhere" }, host)).rejects.toThrow("The file /nowhere cannot be read");
});
