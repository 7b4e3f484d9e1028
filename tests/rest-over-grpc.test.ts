import { once } from "node:events";
import { createServer, request as httpRequest, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import { afterEach, expect, test } from "vitest";
import { createTranscoder } from "../gateway/transcoder/transcoder.js";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { JobState } from "../gen/ragents/rag/v1/rag_pb.js";
import { RagService } from "../gen/ragents/rag/v1/rag_service_pb.js";
import { systemClock } from "../runtime/clock.js";
import { meshError } from "../runtime/errors.js";
import { type GrpcServer, startGrpcServer } from "../runtime/grpc-server.js";
import { createGrpcTransport, type GrpcTransport } from "../runtime/grpc-transport.js";
import { silentLogger } from "../runtime/logger.js";
import { createMetrics } from "../runtime/metrics.js";
import { serverInterceptors } from "../runtime/server-interceptors.js";

const multipart = {
  "ragents.rag.v1.RagService.UploadDocuments": {
    header: "header",
    file: { field: "file", fileName: "document_id", mediaType: "mime_type" },
    data: "data",
  },
};

/** Handlers for the RPCs that a test does not call. */
const notCalled = Object.fromEntries(
  RagService.methods.map((method) => [method.localName, () => expect.fail(`${method.name} is not part of this test`)]),
);

const open: { grpc: GrpcServer; transport: GrpcTransport; http: Server }[] = [];

afterEach(async () => {
  for (const { grpc, transport, http } of open.splice(0)) {
    http.closeAllConnections();
    http.close();
    transport.close();
    await grpc.drain(1000);
  }
});

/** REST in front of a rag service with the given handlers, over a real gRPC connection. */
async function serve(handlers: Partial<ServiceImpl<typeof RagService>>): Promise<{ url: string; port: number }> {
  const grpc = await startGrpcServer({
    host: "127.0.0.1",
    port: 0,
    services: [{ service: RagService, implementation: { ...notCalled, ...handlers } as object }],
    interceptors: serverInterceptors({ logger: silentLogger, metrics: createMetrics(), clock: systemClock }),
  });
  const transport = createGrpcTransport({ address: grpc.address, services: [RagService] });
  const transcoder = createTranscoder({
    services: [RagService],
    transport: () => transport,
    errorDomain: "ragents",
    multipart,
  });
  const http = createServer((request, response) => void transcoder.handle(request, response));
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  open.push({ grpc, transport, http });
  const { port } = http.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port };
}

function post(url: string, body: unknown): Promise<Response> {
  return fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

test("a unary call goes through and comes back", async () => {
  const { url } = await serve({
    retrieve: ({ collection, query, topK, filters }) => ({
      hits: [{ documentId: `${collection} ${query} ${topK} ${JSON.stringify(filters)}`, score: 0.5 }],
      epoch: 3n,
    }),
  });
  const answer = await post(`${url}/v1/collections/books:retrieve`, {
    query: "q",
    top_k: 2,
    filters: { kind: "valve" },
  });
  expect(await answer.json()).toMatchObject({
    hits: [{ document_id: 'books q 2 {"kind":"valve"}', score: 0.5 }],
    epoch: 3,
  });
});

test("limits of the schema and errors of the service arrive with their details", async () => {
  const { url } = await serve({
    getJob() {
      throw meshError(Code.ResourceExhausted, ErrorReason.OVERLOADED, "Slow down.", { retryAfterMs: 1500 });
    },
    retrieve: () => ({}),
  });
  const limited = await post(`${url}/v1/collections/books:retrieve`, { query: "q", top_k: 0 });
  expect([limited.status, await limited.json()]).toMatchObject([
    400,
    { code: 3, details: [{ reason: "INVALID_FIELD" }, { field_violations: [{ field: "top_k" }] }] },
  ]);
  const busy = await fetch(`${url}/v1/jobs/1`);
  expect([busy.status, busy.headers.get("retry-after"), await busy.json()]).toMatchObject([
    429,
    "2",
    {
      code: 8,
      message: "Slow down.",
      details: [{ reason: "OVERLOADED", domain: "ragents" }, { retry_delay: "1.500s" }],
    },
  ]);
});

test("a service that is not there is 503, and its address is not told", async () => {
  const { url } = await serve({});
  await open[0]!.grpc.drain(0);
  const answer = await fetch(`${url}/v1/jobs/1`, { headers: { "x-request-timeout": "2" } });
  const text = await answer.text();
  expect([503, 504]).toContain(answer.status);
  expect(text).not.toMatch(/127\.0\.0\.1|ECONN/);
});

test("a stream arrives as events, and stops when its reader leaves", async () => {
  let stop!: () => void;
  const stopped = new Promise<void>((resolve) => (stop = resolve));
  const { url } = await serve({
    async *watchJob(_request, context) {
      context.signal.addEventListener("abort", stop);
      yield { job: { id: "j", state: JobState.RUNNING } };
      await stopped;
    },
  });
  const client = new AbortController();
  const answer = await fetch(`${url}/v1/jobs/j:watch`, { signal: client.signal });
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  const first = await reader.read();
  expect(first.value).toMatch(/^data: {"id":"j",.*"state":"RUNNING"/);
  client.abort();
  await stopped;
});

test("an upload arrives in order and whole, larger than the buffers in between", async () => {
  const { url } = await serve({
    async uploadDocuments(parts) {
      const seen: string[] = [];
      let bytes = 0;
      for await (const { part } of parts) {
        if (part.case === "header") seen.push(part.value.collection);
        if (part.case === "file") seen.push(part.value.documentId);
        if (part.case === "data") bytes += part.value.length;
      }
      return { job: { id: seen.join(" "), totalBytes: BigInt(bytes) } };
    },
  });
  const form = new FormData();
  form.append("f", new Blob(["x".repeat(5 << 20)]), "a.txt");
  form.append("f", new Blob(["y".repeat(5 << 20)]), "dir/b.txt");
  const answer = await fetch(`${url}/v1/collections/books/documents:upload`, { method: "POST", body: form });
  expect(await answer.json()).toMatchObject({ id: "books a.txt dir/b.txt", total_bytes: 10 << 20 });
});

test("an upload that breaks off cancels the call", async () => {
  let started!: () => void;
  let cancelled!: () => void;
  const start = new Promise<void>((resolve) => (started = resolve));
  const cancel = new Promise<void>((resolve) => (cancelled = resolve));
  const { port } = await serve({
    async uploadDocuments(parts, context) {
      context.signal.addEventListener("abort", cancelled);
      for await (const { part } of parts) if (part.case === "file") started();
      await cancel;
      return {};
    },
  });
  const client = httpRequest({
    port,
    method: "POST",
    path: "/v1/collections/books/documents:upload",
    headers: { "content-type": "multipart/form-data; boundary=B", "content-length": "1000" },
  });
  client.on("error", () => {});
  client.write('--B\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\nsome bytes');
  await start;
  client.destroy();
  await cancel;
});
