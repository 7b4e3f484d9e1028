import { once } from "node:events";
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, createClient } from "@connectrpc/connect";
import { onTestFinished, test, expect, describe } from "vitest";
import { AgentService, ListAgentsResponseSchema } from "../gen/ragents/agent/v1/agent_service_pb.js";
import { failureOf } from "../tests/failure-of.js";
import { createGrpcTransport } from "./grpc-transport.js";

/** A server that cuts its first answers off behind their headers: by resetting the call, or with the whole connection. */
async function startCutting(cuts: number, how: "reset" | "connection") {
  let calls = 0;
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream) => {
    calls += 1;
    stream.on("error", () => {});
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    if (calls <= cuts) {
      // The headers have left once this has.
      const cut = () => (how === "reset" ? stream.close(2) : stream.session?.destroy());
      stream.session?.ping(() => cut());
      return;
    }
    const message = toBinary(ListAgentsResponseSchema, create(ListAgentsResponseSchema));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(Buffer.concat([head, message]));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const transport = createGrpcTransport({ address: `127.0.0.1:${(server.address() as AddressInfo).port}`, services: [AgentService] });
  onTestFinished(() => {
    transport.close();
    server.close();
  });
  return { agent: createClient(AgentService, transport), calls: () => calls };
}

describe.each(["reset", "connection"] as const)("a call whose answer is cut off behind its headers, by %s", (how) => {
  test("is made again where that is harmless", async () => {
    const { agent, calls } = await startCutting(2, how);
    expect((await agent.listAgents({})).agents).toEqual([]);
    expect(calls()).toBe(3);
  });

  test("is given up at the third time", async () => {
    const { agent, calls } = await startCutting(9, how);
    expect([Code.Unavailable, Code.Internal]).toContain((await failureOf(agent.listAgents({}))).code);
    expect(calls()).toBe(3);
  });

  test("is not made again where it may have done something", async () => {
    const { agent, calls } = await startCutting(9, how);
    expect([Code.Unavailable, Code.Internal]).toContain((await failureOf(agent.query({ query: "?" }))).code);
    expect(calls()).toBe(1);
  });
});
