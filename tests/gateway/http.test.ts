import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type OpenAiDouble, startOpenAiDouble } from "../servers/openai-double.js";
import { jobEnd, startTestMesh, type TestMesh } from "../support/mesh.js";

const PAGE = "https://app.example.com";
/** Runs that a tenant may have an hour in this mesh; enough for the tests before the last one. */
const RUNS = 25;

let mesh: TestMesh;
let model: OpenAiDouble;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ragents-http-"));
  const limits = join(folder, "limits.yaml");
  writeFileSync(limits, `tiers: { local: { burst: ${RUNS}, per_hour: ${RUNS} } }\n`);
  model = await startOpenAiDouble();
  mesh = await startTestMesh({
    OPENAI_BASE_URL: model.baseUrl,
    RAGENTS_LLM_RETRIES: "0",
    RAGENTS_CORS_ORIGINS: PAGE,
    RAGENTS_RATELIMIT_CONFIG: limits,
  });
  const { body } = await mesh.rest("POST", "/v1/collections/default/documents:ingest", {
    documents: [{ id: "otter", text: "The otter lives in a holt by the river and eats eels." }],
  });
  await jobEnd(mesh, body.id);
});
afterAll(async () => {
  await mesh?.stop();
  await model?.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  model.requests.length = 0;
  model.script = () => ({ text: "It eats eels [1]." });
});

const post = (path: string, body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal) =>
  fetch(mesh.url + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  });

describe("every answer", () => {
  test("has a request id: the client's when it is one, else a new one", async () => {
    expect((await mesh.rest("GET", "/agents", undefined, { "x-request-id": "mine-1" })).headers.get("x-request-id")).toBe("mine-1");
    const other = await mesh.rest("GET", "/nothing", undefined, { "x-request-id": "not one\u00e9" });
    expect(other.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("has a trace, which is the client's when it sent one", async () => {
    const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    const sent = `00-${trace}-00f067aa0ba902b7-01`;
    const { headers } = await mesh.rest("GET", "/agents", undefined, { traceparent: sent });
    expect(headers.get("traceparent")).toMatch(new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`));
    expect((await mesh.rest("GET", "/agents", undefined, { traceparent: "x" })).headers.get("traceparent")).toMatch(/^00-[0-9a-f]{32}-/);
  });
});

describe("a read", () => {
  test("is not sent twice", async () => {
    const first = await mesh.rest("GET", "/v1/collections/default");
    const again = await mesh.rest("GET", "/v1/collections/default", undefined, { "if-none-match": first.headers.get("etag")! });
    expect([again.status, again.body]).toEqual([304, undefined]);
  });

  test("is compressed for those who accept it", async () => {
    const { headers } = await mesh.rest("GET", "/openapi.json", undefined, { "accept-encoding": "gzip" });
    expect(headers.get("content-encoding")).toBe("gzip");
    expect(headers.get("vary")).toContain("Accept-Encoding");
  });

  test("has a HEAD without a body, and says what else its path takes", async () => {
    const head = await fetch(`${mesh.url}/v1/collections`, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect(Number(head.headers.get("content-length"))).toBeGreaterThan(10);
    const options = await fetch(`${mesh.url}/v1/collections`, { method: "OPTIONS" });
    expect(options.headers.get("allow")?.split(", ").sort()).toEqual(["GET", "HEAD", "OPTIONS", "POST"]);
  });
});

describe.each([
  ["REST", "/query", "POST"],
  ["OpenAI's API", "/v1/chat/completions", "POST"],
  ["Connect", "/ragents.agent.v1.AgentService/ListAgents", "POST"],
])("pages that call by %s", (_, path, method) => {
  const preflight = (origin: string) =>
    fetch(mesh.url + path, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": method, "access-control-request-headers": "content-type,x-api-key" },
    });

  test("may when their origin is allowed, and not otherwise", async () => {
    const allowed = await preflight(PAGE);
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get("access-control-allow-origin")).toBe(PAGE);
    expect(allowed.headers.get("access-control-allow-methods")).toContain(method);
    expect(allowed.headers.get("access-control-allow-headers")).toBe("content-type,x-api-key");
    expect((await preflight("https://evil.example")).headers.get("access-control-allow-origin")).toBeNull();
    const stranger = await post(path, {}, { origin: "https://evil.example" });
    expect(stranger.status).toBe(403);
    await stranger.text();
  });
});

/** The events of a server-sent stream, as far as it was read. */
function eventsOf(text: string): { id: string | undefined; data: any }[] {
  const frames = text.split("\n\n").filter((frame) => frame.includes("data: ") && !frame.startsWith("event: "));
  return frames.map((frame) => ({ id: /^id: (.*)$/m.exec(frame)?.[1], data: JSON.parse(/^data: (.*)$/m.exec(frame)![1]!) }));
}

describe("a stream", () => {
  const query = { query: "What does the otter eat?", config_overrides: { bypass_cache: true } };

  test("is server-sent events with ids, or lines of JSON for those who ask for them", async () => {
    const events = eventsOf(await (await post("/v1/query:stream", query)).text());
    expect(events.every(({ id }) => id !== undefined && id !== "")).toBe(true);
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    const answer = await post("/v1/query:stream", query, { accept: "application/x-ndjson" });
    expect(answer.headers.get("content-type")).toBe("application/x-ndjson");
    const lines = (await answer.text()).trim().split("\n").map((line) => JSON.parse(line));
    expect(lines.at(-1).result.response).toBe("It eats eels [1].");
  });

  test("is gone on with behind the last event that was received, and the run was not begun anew", async () => {
    model.script = () => ({ text: "It eats eels [1], and nothing else at all.", delayMs: 300 });
    const client = new AbortController();
    const broken = await post("/v1/query:stream", { ...query, resumable: true }, {}, client.signal);
    const reader = broken.body!.pipeThrough(new TextDecoderStream()).getReader();
    let received = "";
    while (!received.includes("\n\n")) received += (await reader.read()).value;
    const [first] = eventsOf(received.slice(0, received.indexOf("\n\n") + 2));
    client.abort();
    const rest = await fetch(`${mesh.url}/v1/query:resume`, { headers: { "last-event-id": first!.id! } });
    const events = eventsOf(await rest.text());
    expect(events.map(({ id }) => id)).not.toContain(first!.id);
    expect(events.map(({ data }) => data.token?.text ?? "").join("")).toBe("It eats eels [1], and nothing else at all.");
    expect(events.at(-1)!.data.result.response).toBe("It eats eels [1], and nothing else at all.");
    expect(model.requests).toHaveLength(1);
  });

  test("of a client that leaves ends the run, down to the model", async () => {
    model.script = () => ({ hang: true });
    const client = new AbortController();
    const answer = await post("/v1/query:stream", query, {}, client.signal);
    await expect.poll(() => model.requests.length, { timeout: 10_000 }).toBe(1);
    client.abort();
    await expect.poll(() => model.requests[0]?.aborted, { timeout: 10_000 }).toBe(true);
    expect(answer.status).toBe(200);
  });
});

describe("a request with an Idempotency-Key", () => {
  test("is the same run when it is repeated, and refused when it asks something else", async () => {
    const query = { query: "What does an otter hunt?", config_overrides: { bypass_cache: true } };
    const first: any = await (await post("/query", query, { "idempotency-key": "once" })).json();
    const again = await (await post("/query", query, { "idempotency-key": "once" })).json();
    expect(again).toMatchObject({ thread_id: first.thread_id, response: first.response });
    expect(model.requests).toHaveLength(1);
    const other = await post("/query", { query: "Something else?" }, { "idempotency-key": "once" });
    expect(other.status).toBeGreaterThanOrEqual(400);
    expect(other.status).toBeLessThan(500);
    await other.text();
  });

  test("that is no text is refused as the client's mistake", async () => {
    const answer = await post("/query", { query: "What?" }, { "idempotency-key": "a\tb" });
    expect([answer.status, await answer.json()]).toMatchObject([400, { details: [{ reason: "INVALID_FIELD" }, { field_violations: [{ field: "idempotency-key" }] }] }]);
  });
});

describe("what comes is limited:", () => {
  const raw = async (text: string): Promise<string> => {
    const { hostname, port } = new URL(mesh.url);
    const socket = connect(Number(port), hostname);
    let answer = "";
    socket.on("data", (data) => (answer += data));
    socket.on("error", () => {});
    socket.write(text);
    await once(socket, "close");
    return answer;
  };

  test("headers to 16 KiB", async () => {
    expect(await raw(`GET /agents HTTP/1.1\r\nhost: localhost\r\nx-long: ${"x".repeat(17 * 1024)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /);
  });

  test("bodies to 4 MiB, whether they say their length or not", async () => {
    const told = await raw("POST /query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 5000000\r\n\r\n{");
    expect(told).toMatch(/^HTTP\/1.1 413 /);
    const body = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(1 << 20).fill(32)),
    });
    const init = { method: "POST", headers: { "content-type": "application/json" }, body, duplex: "half" } as RequestInit;
    const untold = await fetch(`${mesh.url}/query`, init).then(
      ({ status }) => status,
      // The connection may be closed before the answer is read.
      () => 413,
    );
    expect(untold).toBe(413);
  });

  test("runs by their tenant's limit, which says when there is one again", async () => {
    let answer: Response;
    let asked = 0;
    do {
      answer = await post("/query", { query: `What does otter ${asked} eat?` });
      asked += 1;
    } while (answer.status === 200 && asked <= RUNS);
    const { details } = (await answer.json()) as { details: { reason?: string }[] };
    expect([answer.status, details[0]?.reason]).toEqual([429, "BUCKET_EMPTY"]);
    const wait = Number(answer.headers.get("retry-after"));
    expect(wait).toBeGreaterThan(1);
    expect(answer.headers.get("ratelimit")).toBe(`"agent.runs";r=0;t=${wait}`);
    expect(answer.headers.get("ratelimit-policy")).toBe(`"agent.runs";q=${RUNS};w=3600`);
    const chat = await post("/v1/chat/completions", { model: "simple", messages: [{ role: "user", content: "What is left?" }] });
    expect([chat.status, chat.headers.get("ratelimit-policy")]).toEqual([429, `"agent.runs";q=${RUNS};w=3600`]);
    expect(await chat.json()).toMatchObject({ error: { type: "rate_limit_error", code: "rate_limit_exceeded" } });
  });
});
