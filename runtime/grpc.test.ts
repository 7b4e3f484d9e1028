import { Code, ConnectError, createClient, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { AgentService } from "../gen/ragents/agent/v1/agent_service_pb.js";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { currentCall, runInCall } from "./call-context.js";
import { systemClock } from "./clock.js";
import { meshError, reasonOf } from "./errors.js";
import { type GrpcServer, type GrpcServerLimits, mount, startGrpcServer } from "./grpc-server.js";
import { createGrpcTransport, type GrpcTransport } from "./grpc-transport.js";
import { silentLogger } from "./logger.js";
import { createMetrics } from "./metrics.js";
import { serverInterceptors } from "./server-interceptors.js";

const open: { server: GrpcServer; transport: GrpcTransport }[] = [];

afterEach(async () => {
  for (const { server, transport } of open.splice(0)) {
    transport.close();
    await server.drain(1000);
  }
});

const notCalled = () => {
  throw new Error("not called in this test");
};

function agent(handlers: Partial<ServiceImpl<typeof AgentService>>): ServiceImpl<typeof AgentService> {
  const others = Object.fromEntries(Object.keys(AgentService.method).map((name) => [name, notCalled]));
  return { ...others, ...handlers } as ServiceImpl<typeof AgentService>;
}

async function serve(handlers: Partial<ServiceImpl<typeof AgentService>>, limits: Partial<GrpcServerLimits> = {}) {
  const metrics = createMetrics();
  const server = await startGrpcServer({
    host: "127.0.0.1",
    port: 0,
    services: [mount(AgentService, agent(handlers))],
    interceptors: serverInterceptors({ logger: silentLogger, metrics, clock: systemClock }),
    limits,
  });
  const transport = createGrpcTransport({ address: server.address, services: [AgentService] });
  open.push({ server, transport });
  return { server, metrics, client: createClient(AgentService, transport) };
}

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => expect.fail("the call succeeded"),
    (error: unknown) => ConnectError.from(error),
  );
}

describe("a handler mounted on grpc-js", () => {
  test("answers unary calls", async () => {
    const { client } = await serve({ query: (request) => ({ response: `you asked ${request.query}` }) });
    expect((await client.query({ query: "hello" })).response).toBe("you asked hello");
  });

  test("streams in order, and inherits the call's context in every step", async () => {
    const { client } = await serve({
      async *streamQuery() {
        for (let i = 0; i < 200; i += 1) yield { eventId: `${currentCall()?.identity.tenant} ${i}` };
      },
    });
    const ids: string[] = [];
    for await (const event of client.streamQuery({ query: "q" })) ids.push(event.eventId);
    expect(ids).toEqual(Array.from({ length: 200 }, (_, i) => `local ${i}`));
  });

  test("sends code, reason, fields and delay of an error", async () => {
    const { client } = await serve({
      query() {
        throw meshError(Code.ResourceExhausted, ErrorReason.OVERLOADED, "Too busy.", { retryAfterMs: 1500, metadata: { limit: "50" } });
      },
    });
    const error = await failure(client.query({ query: "q" }));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.rawMessage).toBe("Too busy.");
    expect(error.findDetails(ErrorInfoSchema)[0]).toMatchObject({ reason: "OVERLOADED", domain: "ragents", metadata: { limit: "50" } });
    expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay).toMatchObject({ seconds: 1n, nanos: 500_000_000 });
  });

  test("hides what an unforeseen error says", async () => {
    const { client } = await serve({
      query() {
        throw new Error("password is hunter2");
      },
    });
    const error = await failure(client.query({ query: "q" }));
    expect(error.code).toBe(Code.Internal);
    expect(reasonOf(error)).toBe("INTERNAL");
    expect(error.message).not.toContain("hunter2");
  });

  test("refuses what the schema refuses, naming every field", async () => {
    const { client } = await serve({});
    const error = await failure(client.query({ query: "  ", configOverrides: { topK: 0 } }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(reasonOf(error)).toBe("INVALID_FIELD");
    const fields = error.findDetails(BadRequestSchema)[0]?.fieldViolations.map(({ field }) => field);
    expect(fields).toEqual(["query", "config_overrides.top_k"]);
  });

  test("passes an error on as another service sent it", async () => {
    const behind = await serve({
      query() {
        throw meshError(Code.NotFound, ErrorReason.COLLECTION_NOT_FOUND, "No collection.");
      },
    });
    const front = await serve({ query: (request) => behind.client.query({ query: request.query }) });
    const error = await failure(front.client.query({ query: "q" }));
    expect([error.code, reasonOf(error)]).toEqual([Code.NotFound, "COLLECTION_NOT_FOUND"]);
  });

  test("answers at the deadline even when the handler does not listen, and tells it", async () => {
    let signal: AbortSignal | undefined;
    const { client } = await serve({
      query(_request, context) {
        signal = context.signal;
        return new Promise(() => {});
      },
    });
    const error = await failure(client.query({ query: "q" }, { timeoutMs: 50 }));
    expect(error.code).toBe(Code.DeadlineExceeded);
    await expect.poll(() => signal?.aborted).toBe(true);
  });

  test("has a deadline of its own for callers without one", async () => {
    const { server } = await serve({ query: () => new Promise(() => {}) }, { unaryDeadlineMs: 30 });
    const raw = new Client(server.address, credentials.createInsecure());
    const identity = (value: Buffer) => value;
    const code = await new Promise((resolve) => {
      const request = Buffer.from([0x0a, 1, 0x71]);
      raw.makeUnaryRequest("/ragents.agent.v1.AgentService/Query", identity, identity, request, new Metadata(), (error) => resolve(error?.code));
    });
    raw.close();
    expect(code).toBe(Code.DeadlineExceeded);
  });

  test("hears that the caller cancelled", async () => {
    let ended = false;
    const { client } = await serve({
      async *streamQuery() {
        try {
          for (let i = 0; ; i += 1) {
            yield { eventId: `${i}` };
            await systemClock.sleep(1);
          }
        } finally {
          ended = true;
        }
      },
    });
    const controller = new AbortController();
    const reading = (async () => {
      for await (const event of client.streamQuery({ query: "q" }, { signal: controller.signal })) {
        if (event.eventId === "3") controller.abort();
      }
    })();
    expect((await failure(reading)).code).toBe(Code.Canceled);
    await expect.poll(() => ended).toBe(true);
  });

  test("refuses too much metadata", async () => {
    const { client } = await serve({ query: () => ({}) }, { maxMetadataBytes: 1024 });
    const error = await failure(client.query({ query: "q" }, { headers: { "x-large": "x".repeat(2000) } }));
    expect([error.code, reasonOf(error)]).toEqual([Code.ResourceExhausted, "MESSAGE_TOO_LARGE"]);
  });

  test("counts calls by code", async () => {
    const { client, metrics } = await serve({ query: () => ({}) });
    await client.query({ query: "q" });
    await failure(client.query({ query: "" }));
    const text = await metrics.registry.metrics();
    expect(text).toMatch(/grpc_server_handled_total\{[^}]*grpc_method="Query",grpc_code="OK"\} 1/);
    expect(text).toMatch(/grpc_server_handled_total\{[^}]*grpc_method="Query",grpc_code="InvalidArgument"\} 1/);
  });

  test("is the same handler on a router transport", async () => {
    const transport = createRouterTransport(
      ({ service }) => void service(AgentService, agent({ query: () => ({ response: currentCall()?.identity.tenant ?? "" }) })),
      { router: { interceptors: serverInterceptors({ logger: silentLogger, metrics: createMetrics(), clock: systemClock }) } },
    );
    const client = createClient(AgentService, transport);
    expect((await client.query({ query: "q" })).response).toBe("local");
    expect((await failure(client.query({ query: "" }))).code).toBe(Code.InvalidArgument);
  });
});

describe("a client transport", () => {
  test("takes deadline, cancellation, request id and trace of the current call along", async () => {
    const traceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const seen: { left: number | undefined; id: string | undefined; trace: string | undefined }[] = [];
    const { client } = await serve({
      query(_request, context) {
        seen.push({ left: context.timeoutMs(), id: currentCall()?.requestId, trace: currentCall()?.traceParent });
        return new Promise((_, reject) => context.signal.addEventListener("abort", () => reject(context.signal.reason)));
      },
    });
    const controller = new AbortController();
    const call = { identity: { tenant: "local" }, requestId: "abc", traceParent, deadline: Date.now() + 5_000, signal: controller.signal };
    const pending = runInCall(call, () => failure(client.query({ query: "q" }, { timeoutMs: 60_000 })));
    await expect.poll(() => seen.length).toBe(1);
    expect(seen[0]).toMatchObject({ id: "abc", trace: traceParent });
    expect(seen[0]?.left).toBeLessThanOrEqual(5_000);
    controller.abort(new ConnectError("stop", Code.Canceled));
    expect((await pending).code).toBe(Code.Canceled);
  });

  test("says which service cannot be reached, and not where it was looked for", async () => {
    const transport = createGrpcTransport({ address: "127.0.0.1:1", services: [AgentService] });
    const error = await failure(createClient(AgentService, transport).query({ query: "q" }));
    transport.close();
    expect([error.code, reasonOf(error)]).toEqual([Code.Unavailable, "DEPENDENCY_UNAVAILABLE"]);
    expect(error.message).toContain("AgentService cannot be reached");
    expect(error.message).not.toContain("127.0.0.1");
  });
});

describe("a server", () => {
  test("refuses a port in use with an error that names it", async () => {
    const { server } = await serve({});
    const port = Number(server.address.split(":")[1]);
    const options = { host: "127.0.0.1", port, services: [mount(AgentService, agent({}))], interceptors: [] };
    await expect(startGrpcServer(options)).rejects.toThrow(`Port ${port} on 127.0.0.1 is in use.`);
  });

  test("lets calls under way end while it drains", async () => {
    let finish: (() => void) | undefined;
    const { server, client } = await serve({
      query: () => new Promise((resolve) => (finish = () => resolve({ response: "done" }))),
    });
    const pending = client.query({ query: "q" });
    await expect.poll(() => finish).toBeDefined();
    const drained = server.drain(5_000);
    finish?.();
    expect((await pending).response).toBe("done");
    await drained;
  });
});
