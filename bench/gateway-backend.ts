import Fastify from "fastify";
import { create, toJson } from "@bufbuild/protobuf";
import { AgentService, ListAgentsResponseSchema } from "../gen/ragents/agent/v1/agent_service_pb.js";
import { systemClock } from "../runtime/clock.js";
import { startGrpcServer } from "../runtime/grpc-server.js";
import { silentLogger } from "../runtime/logger.js";
import { createMetrics } from "../runtime/metrics.js";
import { serverInterceptors } from "../runtime/server-interceptors.js";

// The same two handlers twice: as a gRPC service for the gateway to stand before, and on bare fastify. In a process of
// its own, so that neither shares one with whoever measures.

const agents = ["langgraph", "logical", "react", "simple"].map((agentType) => ({
  agentType,
  description: `Answers questions as ${agentType} agents do, from the documents of a collection.`,
  version: "0123abcd",
}));
const listAgents = () => ({ agents });
const untilAborted = (signal: AbortSignal) => new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));

const implementation = Object.fromEntries(
  AgentService.methods.map(({ localName }) => [
    localName,
    () => {
      throw new Error(`${localName} is not measured`);
    },
  ]),
);
const grpc = await startGrpcServer({
  host: "127.0.0.1",
  port: 0,
  services: [
    {
      service: AgentService,
      implementation: {
        ...implementation,
        listAgents,
        async *streamQuery(_: unknown, { signal }: { signal: AbortSignal }) {
          yield { eventId: "1", event: { case: "token", value: { text: "An" } } };
          await untilAborted(signal);
        },
      } as object,
    },
  ],
  interceptors: serverInterceptors({ logger: silentLogger, metrics: createMetrics(), clock: systemClock }),
});

const fastify = Fastify();
fastify.get("/agents", () => toJson(ListAgentsResponseSchema, create(ListAgentsResponseSchema, listAgents()), { useProtoFieldName: true }));
fastify.post("/v1/query:stream", (_, reply) => {
  reply.hijack();
  reply.raw.writeHead(200, { "content-type": "text/event-stream" });
  reply.raw.write('id: 1\ndata: {"event_id":"1","token":{"text":"An"}}\n\n');
});
const http = await fastify.listen({ host: "127.0.0.1", port: 0 });
process.stdout.write(`${JSON.stringify({ grpc: grpc.address, http, pid: process.pid })}\n`);
