import { Code, createClient, type ServiceImpl } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { AgentService } from "../gen/ragents/agent/v1/agent_service_pb.js";
import { Role } from "../gen/ragents/auth/v1/access_pb.js";
import { failureOf } from "../tests/failure-of.js";
import type { Identity } from "./call-context.js";
import { systemClock } from "./clock.js";
import { reasonOf, retryAfterMsOf } from "./errors.js";
import { type GrpcServer, mount, startGrpcServer } from "./grpc-server.js";
import { createGrpcTransport, type GrpcTransport } from "./grpc-transport.js";
import { silentLogger } from "./logger.js";
import { createMetrics } from "./metrics.js";
import { serverInterceptors } from "./server-interceptors.js";

/** What the handlers wait for, each call on its own. */
const waiting: (() => void)[] = [];
const endAll = () => waiting.splice(0).forEach((end) => end());

describe("a server where a tenant may have two calls under way", () => {
  let server: GrpcServer;
  let transport: GrpcTransport;

  beforeAll(async () => {
    const others = Object.fromEntries(AgentService.methods.map(({ localName, name }) => [localName, () => expect.fail(`${name} was called`)]));
    const held = (signal: AbortSignal) =>
      new Promise<void>((resolve) => {
        waiting.push(resolve);
        signal.addEventListener("abort", () => resolve());
      });
    const handlers: Partial<ServiceImpl<typeof AgentService>> = {
      async listAgents(_, { signal }) {
        await held(signal);
        return {};
      },
      async *streamQuery(_, { signal }) {
        yield { eventId: "1" };
        await held(signal);
      },
    };
    const identify = (header: Headers): Identity => ({ tenant: header.get("x-test-tenant")!, roles: [Role.READER], ...(header.has("x-test-service") && { service: "rag" }) });
    server = await startGrpcServer({
      host: "127.0.0.1",
      port: 0,
      services: [mount(AgentService, { ...others, ...handlers } as ServiceImpl<typeof AgentService>)],
      interceptors: serverInterceptors({ logger: silentLogger, metrics: createMetrics(), clock: systemClock, security: { identify }, tenantCalls: 2 }),
    });
    transport = createGrpcTransport({ address: server.address, services: [] });
  });
  afterEach(endAll);
  afterAll(async () => {
    transport.close();
    await server.drain(0);
  });

  const agent = () => createClient(AgentService, transport);
  const list = (tenant: string, headers: Record<string, string> = {}) => agent().listAgents({}, { headers: { "x-test-tenant": tenant, ...headers } });
  const untilHeld = (count: number) => expect.poll(() => waiting.length, { interval: 5 }).toBe(count);

  test("refuses a third at once, saying when to come back, and nobody else's", async () => {
    const held = [list("acme"), list("acme")];
    await untilHeld(2);
    const refused = await failureOf(list("acme"));
    expect([refused.code, reasonOf(refused), retryAfterMsOf(refused)]).toEqual([Code.ResourceExhausted, "QUOTA_EXCEEDED", 1_000]);
    held.push(list("other"), list("acme", { "x-test-service": "yes" }));
    await untilHeld(4);
    endAll();
    await Promise.all(held);
    const again = list("acme");
    await untilHeld(1);
    endAll();
    await again;
  });

  test("counts a stream until it ends, or its reader leaves", async () => {
    const readers = [new AbortController(), new AbortController()];
    const streams = readers.map(({ signal }) => agent().streamQuery({ query: "?" }, { headers: { "x-test-tenant": "acme" }, signal })[Symbol.asyncIterator]());
    await Promise.all(streams.map((stream) => stream.next()));
    expect((await failureOf(list("acme"))).code).toBe(Code.ResourceExhausted);
    readers[0]!.abort();
    await expect(streams[0]!.next()).rejects.toMatchObject({ code: Code.Canceled });
    // Its server hears of it a moment later.
    const inItsPlace = async () => {
      const call = list("acme");
      const outcome = await Promise.race([call.then(() => "answered", () => "refused"), untilHeld(3).then(() => "held", () => "not held")]);
      void call.catch(() => {});
      return outcome;
    };
    await expect.poll(inItsPlace, { timeout: 5_000 }).toBe("held");
    endAll();
    expect(await streams[1]!.next()).toMatchObject({ done: true });
  });
});
