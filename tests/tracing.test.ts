import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startOpikDouble, type OpikDouble, type OpikRecord } from "./servers/opik-double.js";
import { newSpanId, newTraceId } from "../runtime/tracing/trace-ids.js";
import { jobEnd, startTestMesh, type TestMesh } from "./support/mesh.js";
import { startOpenAiDouble, type OpenAiDouble } from "./servers/openai-double.js";

const SECRET_DOCUMENT = "The zephyrine valve opens at ninety bar. It was built in Leuven.";
const SECRET_QUESTION = "When does the zephyrine valve open?";

const POLL = { timeout: 10_000 };

let opik: OpikDouble;
let model: OpenAiDouble;
let mesh: TestMesh;

async function ingest(): Promise<void> {
  const { body } = await mesh.rest("POST", "/v1/collections/default/documents:ingest", { documents: [{ id: "valve", text: SECRET_DOCUMENT }] });
  expect((await jobEnd(mesh, body.id)).state).toBe("SUCCEEDED");
}

const spansOf = (trace: string) => opik.spans.filter((span) => span["trace_id"] === trace);
const named = (spans: readonly OpikRecord[], name: string) => spans.find((span) => span["name"] === name);

describe("a traced mesh", () => {
  beforeAll(async () => {
    opik = await startOpikDouble();
    model = await startOpenAiDouble(() => ({ text: "At ninety bar [1]." }));
    mesh = await startTestMesh({
      OPIK_URL_OVERRIDE: opik.url,
      OPIK_API_KEY: "key",
      OPIK_WORKSPACE: "space",
      OPIK_PROJECT_NAME: "valves",
      OPIK_BATCH_DELAY_MS: "10",
      OPENAI_BASE_URL: model.baseUrl,
    });
    await ingest();
  });
  afterAll(async () => {
    await mesh.stop();
    await Promise.all([opik.stop(), model.close()]);
  });

  test("makes one trace of a request through all of its services", async () => {
    const { body, status } = await mesh.rest("POST", "/query", { query: SECRET_QUESTION });
    expect(status).toBe(200);
    const traceId = body.metadata.trace_id;
    await expect.poll(() => named(spansOf(traceId), "cache.fill"), POLL).toBeDefined();
    const spans = spansOf(traceId);
    const trace = opik.traces.find(({ id }) => id === traceId)!;
    expect(trace).toMatchObject({ project_name: "valves", thread_id: body.thread_id, input: { query: SECRET_QUESTION }, output: { response: body.response }, metadata: { agent_version: body.metadata.agent_version, model_version: body.metadata.model_version } });
    expect(body.metadata.agent_version).toMatch(/^[0-9a-f]{8}$/);
    const gateway = named(spans, "gateway")!;
    expect(gateway["parent_span_id"]).toBeUndefined();
    const query = named(spans, "Query")!;
    expect(query["parent_span_id"]).toBe(gateway.id);
    const ids = new Set(spans.map(({ id }) => id));
    for (const span of spans) if (span !== gateway) expect(ids).toContain(span["parent_span_id"]);
    expect(new Set(spans.map(({ metadata }) => (metadata as { service: string }).service))).toEqual(new Set(["gateway", "agent", "rag", "checkpoint", "ratelimit"]));
    expect(named(spans, "llm")).toMatchObject({ type: "llm", model: "gpt-4.1-mini", usage: { total_tokens: expect.any(Number) }, output: { text: "At ninety bar [1]." }, metadata: { prompt: expect.stringMatching(/^answer@[0-9a-f]{8}$/) } });
    expect(named(spans, "Retrieve")).toMatchObject({ input: { query: expect.any(String) }, metadata: { collection: "default", hits: 1 } });
    expect(named(spans, "cache.fill")).toMatchObject({ metadata: { kind: "ANSWER", hit: false } });
    expect(named(spans, "ratelimit.check")).toMatchObject({ metadata: { allowed: true } });
    // The puts of several requests share a stream; each is in its own request's trace.
    const puts = spans.filter(({ name }) => name === "PutCheckpoint");
    const { request_id } = query["metadata"] as { request_id: string };
    expect(puts.length).toBeGreaterThan(2);
    for (const { metadata } of puts) expect(metadata).toMatchObject({ service: "checkpoint", request_id });
    expect(named(spans, "StreamPuts")).toBeUndefined();
    const metrics = await (await fetch(`http://${mesh.probes}/metrics`)).text();
    expect(metrics).toMatch(/grpc_server_started_total\{[^}]*grpc_method="StreamPuts"[^}]*\} [1-9]/);
    expect(metrics).toMatch(/grpc_server_started_total\{[^}]*grpc_method="PutCheckpoint"[^}]*\} 0/);
    expect(opik.headers).toEqual({ authorization: "key", workspace: "space" });
  });

  test("traces ingestion by its files", async () => {
    await expect.poll(() => opik.traces.find(({ name }) => name === "ingest"), POLL).toBeDefined();
    const trace = opik.traces.find(({ name }) => name === "ingest")!;
    const file = named(spansOf(trace.id), "document");
    expect(file).toMatchObject({ metadata: { document: "valve", bytes: SECRET_DOCUMENT.length, outcome: "cut" } });
  });

  test("joins no trace of a client's choosing", async () => {
    const strange = "01900000-0000-7000-8000-000000000000";
    const headers = { "x-ragents-trace": `${strange}/${strange}` };
    const { body } = await mesh.rest("POST", "/query", { query: "Where was it built?" }, headers);
    expect(body.metadata.trace_id).not.toBe(strange);
    await expect.poll(() => named(spansOf(body.metadata.trace_id), "gateway"), POLL).toBeDefined();
    expect(spansOf(strange)).toEqual([]);
  });

  test("takes what somebody thinks of an answer, of their own traces only", async () => {
    const { body } = await mesh.rest("POST", "/query", { query: SECRET_QUESTION });
    const trace = body.metadata.trace_id;
    expect((await mesh.rest("POST", `/v1/traces/${trace}/scores`, { name: "helpful", value: 1, reason: "right" })).status).toBe(200);
    await expect.poll(() => opik.scores, POLL).toMatchObject([{ id: trace, name: "helpful", value: 1, reason: "right" }]);
    for (const other of [newTraceId("acme"), "x", newSpanId()]) {
      const refused = await mesh.rest("POST", `/v1/traces/${other}/scores`, { name: "helpful", value: 1 });
      expect([refused.status, refused.body.details[0].reason]).toEqual([404, "TRACE_NOT_FOUND"]);
    }
    const wrong = await mesh.rest("POST", `/v1/traces/${trace}/scores`, { name: "", value: 1e9 });
    expect(wrong.status).toBe(400);
    expect(JSON.stringify(wrong.body.details)).toMatch(/"name".*"value"/);
  });
});

test("a mesh that sends its traces nowhere says so to who has feedback", async () => {
  const plain = await startTestMesh();
  try {
    const refused = await plain.rest("POST", `/v1/traces/${newTraceId("local")}/scores`, { name: "helpful", value: 1 });
    expect([refused.status, refused.body.details[0].reason]).toEqual([400, "TRACING_NOT_CONFIGURED"]);
    expect(refused.body.message).toContain("OPIK_URL_OVERRIDE");
  } finally {
    await plain.stop();
  }
});
