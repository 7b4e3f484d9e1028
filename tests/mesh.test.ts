import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { loadFileDescriptorSetFromBuffer } from "@grpc/proto-loader";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AgentService } from "../gen/ragents/agent/v1/agent_service_pb.js";
import { RagService } from "../gen/ragents/rag/v1/rag_service_pb.js";
import { checkHealth } from "../runtime/health-client.js";
import { createGrpcTransport } from "../runtime/grpc-transport.js";
import { jobEnd, startTestMesh, type TestMesh } from "./support/mesh.js";

const SERVICES = {
  cache: { typeName: "ragents.cache.v1.CacheService", method: "GetStats", request: {} },
  checkpoint: { typeName: "ragents.checkpoint.v1.CheckpointService", method: "GetStats", request: {} },
  ratelimit: {
    typeName: "ragents.ratelimit.v1.RateLimitService",
    method: "Check",
    request: { key: "someone", cost: 1 },
  },
  rag: { typeName: "ragents.rag.v1.RagService", method: "Retrieve", request: { collection: "default", query: "kingfisher" } },
  agent: { typeName: "ragents.agent.v1.AgentService", method: "Query", request: { query: "What does the kingfisher eat?" } },
};

let mesh: TestMesh;

beforeAll(async () => {
  mesh = await startTestMesh();
  const { body } = await mesh.rest("POST", "/v1/collections/default/documents:ingest", {
    documents: [
      { id: "kingfisher", text: "The kingfisher eats small fish. It dives from a branch above clear water.", metadata: { kind: "bird" } },
      { id: "heron", text: "The heron stands still for hours. It eats frogs and fish from shallow water.", metadata: { kind: "bird" } },
      { id: "otter", text: "# Otter\n\nThe otter lives in a holt by the river and eats eels.", metadata: { kind: "mammal" }, mime_type: "text/markdown" },
    ],
  });
  expect(await jobEnd(mesh, body.id)).toMatchObject({ state: "SUCCEEDED", done_documents: 3, failed_documents: 0 });
});
afterAll(() => mesh?.stop());

describe("a gRPC client that knows nothing but an address", () => {
  test.each(Object.entries(SERVICES))("finds and calls %s by reflection", async (name, { typeName, method, request }) => {
    const address = mesh.addressOf(name);
    const reflection = reflectionClient(address);
    expect(await reflection.services()).toContain(typeName);
    const definition = loadFileDescriptorSetFromBuffer(Buffer.from(await reflection.files(typeName)), { keepCase: true });
    const loaded = loadPackageDefinition(definition);
    const Service = typeName.split(".").reduce((scope: never, part) => scope[part], loaded as never) as ServiceClientConstructor;
    const client = new Service(address, credentials.createInsecure());
    const answer = await new Promise((resolve, reject) =>
      client[method]!(request, (error: Error | null, response: unknown) => (error === null ? resolve(response) : reject(error))),
    );
    client.close();
    reflection.close();
    expect(answer).toBeTypeOf("object");
  });

  test.each(Object.entries(SERVICES))("is told that %s serves", async (name, { typeName }) => {
    const transport = createGrpcTransport({ address: mesh.addressOf(name), services: [] });
    expect(await checkHealth(transport, typeName, 2000)).toBe("serving");
    transport.close();
  });
});

describe("REST", () => {
  test("answers with citations that quote the document", async () => {
    const { status, body } = await mesh.rest("POST", "/query", { query: "What does the otter eat?" });
    expect(status).toBe(200);
    expect(body.response).toContain("eels");
    expect(body).toMatchObject({ agent_type: "simple", thread_id: expect.any(String), processing_time: expect.any(Number) });
    const [citation] = body.metadata.citations;
    expect(citation).toMatchObject({ index: 1, document_id: "otter", chunk_id: "otter#0" });
    const { body: found } = await mesh.rest("POST", "/v1/collections/default:retrieve", { query: "otter eels" });
    const chunk = found.hits.find((hit: { chunk_id: string }) => hit.chunk_id === citation.chunk_id);
    expect(chunk.text.slice(citation.start - chunk.start, citation.end - chunk.start)).toBe(citation.quote);
  });

  test("answers the same question from the cache, until the documents change", async () => {
    const query = { query: "Where does the heron stand?" };
    const ask = async () => (await mesh.rest("POST", "/query", query)).body;
    expect((await ask()).metadata.cached).toBe(false);
    const again = await ask();
    expect(again.metadata.cached).toBe(true);
    const { body } = await mesh.rest("POST", "/v1/collections/default/documents:ingest", {
      documents: [{ id: "heron-2", text: "The heron stands on one leg in the reeds." }],
    });
    await jobEnd(mesh, body.id);
    expect((await ask()).metadata.cached).toBe(false);
  });

  test("streams steps, text and the result as server-sent events", async () => {
    const response = await fetch(`${mesh.url}/v1/query:stream`, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify({ query: "What do kingfishers eat?", config_overrides: { bypass_cache: true } }),
    });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const frames = (await response.text()).trim().split("\n\n");
    expect(frames.pop()).toMatch(/^event: end/);
    const events = frames.map((frame) => JSON.parse(/^data: ?(.*)$/m.exec(frame)![1]!));
    const kinds = events.map((event) => Object.keys(event).find((key) => key !== "event_id"));
    expect(kinds.slice(0, 2)).toEqual(["started", "step"]);
    expect(kinds.at(-1)).toBe("result");
    const text = events.map((event) => event.token?.text ?? "").join("");
    expect(text).toBe(events.at(-1).result.response);
    expect(text).toContain("small fish");
  });

  test("filters by metadata in every mode", async () => {
    for (const mode of ["hybrid", "semantic", "keyword"]) {
      const { body } = await mesh.rest("POST", "/v1/collections/default:retrieve", { query: "eats fish", mode, filters: { kind: "mammal" } });
      expect(body.hits.map((hit: { document_id: string }) => hit.document_id)).toEqual(["otter"]);
    }
  });

  test("shows health, agents and cache statistics with plain numbers", async () => {
    expect((await mesh.rest("GET", "/health")).body).toMatchObject({ status: "healthy", services: expect.arrayContaining([{ name: "rag", status: "serving" }]) });
    expect((await mesh.rest("GET", "/agents")).body.agents.map((agent: { agent_type: string }) => agent.agent_type)).toContain("simple");
    expect((await mesh.rest("GET", "/cache/stats")).body).toMatchObject({ hits: expect.any(Number), misses: expect.any(Number) });
    expect((await mesh.rest("POST", "/cache/clear", {})).status).toBe(200);
  });

  test("makes, lists and deletes collections", async () => {
    expect(await mesh.rest("POST", "/v1/collections", { id: "notes" })).toMatchObject({ status: 200, body: { id: "notes", document_count: 0 } });
    expect((await mesh.rest("POST", "/v1/collections", { id: "notes" })).status).toBe(409);
    const ids = (await mesh.rest("GET", "/v1/collections")).body.collections.map((collection: { id: string }) => collection.id);
    expect(ids).toEqual(["default", "notes"]);
    expect((await mesh.rest("DELETE", "/v1/collections/notes")).status).toBe(200);
    expect((await mesh.rest("GET", "/v1/collections/notes")).status).toBe(404);
  });

  test("remembers a thread, pages through it and forgets it", async () => {
    const ask = (query: string) => mesh.rest("POST", "/query", { query, thread_id: "river" });
    await ask("What does the otter eat?");
    const { body: second } = await ask("Where does it live?");
    expect(second.response).toContain("holt");
    expect((await mesh.rest("GET", "/v1/threads/river")).body).toMatchObject({ id: "river", message_count: 4 });
    const page = (await mesh.rest("GET", "/v1/threads/river/messages?page_size=3")).body;
    expect(page.messages).toHaveLength(3);
    const rest = (await mesh.rest("GET", `/v1/threads/river/messages?page_token=${encodeURIComponent(page.next_page_token)}`)).body;
    expect([...page.messages, ...rest.messages].map((message: { role: string }) => message.role)).toEqual(["user", "assistant", "user", "assistant"]);
    expect((await mesh.rest("DELETE", "/v1/threads/river")).status).toBe(200);
    expect((await mesh.rest("GET", "/v1/threads/river")).status).toBe(404);
  });

  test("describes itself", async () => {
    const { body } = await mesh.rest("GET", "/openapi.json");
    expect(body.openapi).toMatch(/^3\.1/);
    expect(Object.keys(body.paths)).toEqual(expect.arrayContaining(["/query", "/health", "/agents", "/cache/stats", "/cache/clear", "/v1/jobs/{job}"]));
  });

  test("takes files as a form", async () => {
    const form = new FormData();
    form.append("file", new Blob(["The beaver fells birches."], { type: "text/plain" }), "beaver.txt");
    const response = await fetch(`${mesh.url}/v1/collections/default/documents:upload`, { method: "POST", body: form });
    expect(response.status).toBe(200);
    const job = await jobEnd(mesh, ((await response.json()) as { id: string }).id);
    expect(job).toMatchObject({ state: "SUCCEEDED", done_documents: 1 });
  });
});

describe.each([
  ["Connect", createConnectTransport],
  ["gRPC-Web", createGrpcWebTransport],
])("a %s client", (_, createTransport) => {
  test("asks, streams and lists through the gateway", async () => {
    const transport = createTransport({ baseUrl: mesh.url, httpVersion: "1.1" });
    const { response } = await createClient(AgentService, transport).query({ query: "What does the otter eat?" });
    expect(response).toContain("eels");
    const { collections } = await createClient(RagService, transport).listCollections({});
    expect(collections.map(({ id }) => id)).toContain("default");
    const cases: (string | undefined)[] = [];
    for await (const { event } of createClient(AgentService, transport).streamQuery({ query: "What does the otter eat?" })) cases.push(event.case);
    expect(cases.at(-1)).toBe("result");
  });
});

/** Speaks grpc.reflection.v1 with hand-made bytes: it must not rely on our generated code. */
function reflectionClient(address: string) {
  const client = new Client(address, credentials.createInsecure());
  const plain = (bytes: Buffer) => bytes;
  const ask = (request: Buffer) =>
    new Promise<Buffer>((resolve, reject) => {
      const call = client.makeBidiStreamRequest("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", plain, plain);
      call.once("data", resolve);
      call.once("error", reject);
      call.write(request);
      call.end();
    });
  const field = (number: number, text: string) => Buffer.concat([Buffer.from([(number << 3) | 2, Buffer.byteLength(text)]), Buffer.from(text)]);
  return {
    close: () => client.close(),
    /** list_services = field 7 */
    services: async () => (await ask(field(7, ""))).toString("latin1").match(/[a-z]+(?:\.[A-Za-z0-9]+)+/g) ?? [],
    /** file_containing_symbol = field 4; answers every file that the symbol needs. */
    async files(symbol: string): Promise<Uint8Array> {
      const files = new Map<string, Buffer>();
      for (const bytes of descriptorsIn(await ask(field(4, symbol)))) {
        files.set(fromBinary(FileDescriptorProtoSchema, bytes).name, bytes);
      }
      const file = [...files.values()].map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
      return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file }));
    },
  };
}

/** file_descriptor_response (field 4) of a reflection answer: repeated file_descriptor_proto (field 1). */
function descriptorsIn(answer: Buffer): Buffer[] {
  const inner = fieldsOf(answer).find(({ number }) => number === 4);
  return inner === undefined ? [] : fieldsOf(inner.bytes).map(({ bytes }) => bytes);
}

function fieldsOf(message: Buffer): { number: number; bytes: Buffer }[] {
  const fields: { number: number; bytes: Buffer }[] = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const length = varint();
    fields.push({ number: tag >> 3, bytes: message.subarray(at, at + length) });
    at += length;
  }
  return fields;
}
