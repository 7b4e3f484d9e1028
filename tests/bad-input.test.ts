import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jobEnd, type RestAnswer, startTestMesh, type TestMesh } from "./support/mesh.js";

let mesh: TestMesh;
let scratch: string;
let root: string;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "ragents-bad-"));
  root = join(scratch, "allowed");
  mkdirSync(root);
  writeFileSync(join(scratch, "secret.txt"), "The secret is 42.");
  symlinkSync(join(scratch, "secret.txt"), join(root, "link.txt"));
  mesh = await startTestMesh({ RAGENTS_INGEST_ROOTS: root });
});
afterAll(async () => {
  await mesh?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

/** What every refusal has: google.rpc.Status with our reason, the field where there is one, and nothing of the server's inside. */
function expectRefusal(answer: RestAnswer, status: number, reason: string, field?: string) {
  expect({ status: answer.status, body: answer.body }).toMatchObject({ status, body: { code: expect.any(Number), message: expect.stringMatching(/\S/) } });
  const details = answer.body.details as { "@type": string; reason?: string; field_violations?: { field: string; description: string }[] }[];
  expect(details.find((detail) => detail["@type"].endsWith("ErrorInfo"))?.reason).toBe(reason);
  const violations = details.find((detail) => detail["@type"].endsWith("BadRequest"))?.field_violations ?? [];
  if (field !== undefined) expect(violations.map((violation) => violation.field)).toContain(field);
  const text = JSON.stringify(answer.body);
  expect(text).not.toContain(scratch);
  expect(text).not.toMatch(/node_modules|\.ts:\d|\.js:\d|at Object\./);
}

describe("POST /query refuses", () => {
  test.each<[string, unknown, string, string | undefined]>([
    ["malformed JSON", '{"query": ', "MALFORMED_JSON", undefined],
    ["an unknown field", { query: "q", temprature: 1 }, "INVALID_FIELD", "temprature"],
    ["a wrong type", { query: 7 }, "INVALID_FIELD", "query"],
    ["a wrong type deep inside", { query: "q", config_overrides: { top_k: "many" } }, "INVALID_FIELD", "config_overrides.top_k"],
    ["an empty query", { query: "" }, "INVALID_FIELD", "query"],
    ["a blank query", { query: " \n\t" }, "INVALID_FIELD", "query"],
    ["no query", {}, "INVALID_FIELD", "query"],
    ["a query above its limit", { query: "x".repeat(8193) }, "INVALID_FIELD", "query"],
    ["a top_k of zero", { query: "q", config_overrides: { top_k: 0 } }, "INVALID_FIELD", "config_overrides.top_k"],
    ["an unknown override", { query: "q", config_overrides: { temprature: 1 } }, "INVALID_FIELD", "config_overrides.temprature"],
    ["a version of an agent that there is not", { query: "q", agent_type: "simple@00000000" }, "UNKNOWN_AGENT", "agent_type"],
    ["a version of a model that there is not", { query: "q", config_overrides: { model: "extractive@00000000" } }, "UNKNOWN_MODEL", "config_overrides.model"],
    ["a thread id with a slash", { query: "q", thread_id: "a/b" }, "INVALID_FIELD", "thread_id"],
  ])("%s", async (_, body, reason, field) => {
    expectRefusal(await mesh.rest("POST", "/query", body), 400, reason, field);
  });

  test("an unknown agent_type, naming the known ones", async () => {
    const answer = await mesh.rest("POST", "/query", { query: "q", agent_type: "oracle" });
    expectRefusal(answer, 400, "UNKNOWN_AGENT", "agent_type");
    expect(answer.body.message).toContain("simple");
  });

  test("an unknown collection", async () => {
    const answer = await mesh.rest("POST", "/query", { query: "What is it?", config_overrides: { collection: "nowhere" } });
    expectRefusal(answer, 404, "COLLECTION_NOT_FOUND");
  });

  test("a body that is not JSON", async () => {
    const answer = await mesh.rest("POST", "/query", "query=q", { "content-type": "application/x-www-form-urlencoded" });
    expectRefusal(answer, 415, "UNSUPPORTED_MEDIA_TYPE");
  });

  test("a body over the size cap", async () => {
    const answer = await mesh.rest("POST", "/query", { query: "x".repeat(5 * 1024 * 1024) });
    expectRefusal(answer, 413, "BODY_TOO_LARGE");
  });
});

describe("the gateway", () => {
  test("knows no other routes", async () => {
    expectRefusal(await mesh.rest("GET", "/v1/nothing"), 404, "ROUTE_NOT_FOUND");
  });

  test("names the methods of a known path", async () => {
    const answer = await mesh.rest("GET", "/query");
    expectRefusal(answer, 405, "METHOD_NOT_ALLOWED");
    expect(answer.headers.get("allow")).toContain("POST");
  });

  test("answers only to this machine's names while there are no keys", async () => {
    const status = await new Promise((resolve, reject) => {
      const { hostname, port } = new URL(mesh.url);
      request({ hostname, port, path: "/health", headers: { host: "evil.example" } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on("error", reject)
        .end();
    });
    expect(status).toBe(403);
  });
});

describe("ingestion refuses", () => {
  const ingest = (body: unknown, collection = "default") => mesh.rest("POST", `/v1/collections/${collection}/documents:ingest`, body);

  test.each([
    ["a path outside the allowed roots", () => ({ path: join(scratch, "secret.txt") })],
    ["a path that climbs out of them", () => ({ path: join(root, "..", "secret.txt") })],
    ["a symbolic link out of them", () => ({ path: join(root, "link.txt") })],
    ["a path that does not exist", () => ({ path: join(root, "none.txt") })],
  ])("%s", async (_, body) => {
    expectRefusal(await ingest(body()), 400, "PATH_NOT_ALLOWED", "path");
  });

  test("neither and both of path and documents", async () => {
    expectRefusal(await ingest({}), 400, "INVALID_FIELD");
    expectRefusal(await ingest({ path: root, documents: [{ id: "a", text: "text" }] }), 400, "INVALID_FIELD");
  });

  test("an unknown collection", async () => {
    expectRefusal(await ingest({ documents: [{ id: "a", text: "text" }] }, "nowhere"), 404, "COLLECTION_NOT_FOUND");
  });

  test("two documents of one id", async () => {
    const documents = [
      { id: "a", text: "one" },
      { id: "a", text: "two" },
    ];
    expectRefusal(await ingest({ documents }), 400, "DUPLICATE_DOCUMENT");
  });

  test("pages to fetch, while nobody said that they may be fetched", async () => {
    expectRefusal(await ingest({ urls: ["https://example.com/"] }), 400, "URL_NOT_ALLOWED");
  });

  test("an unknown job", async () => {
    expectRefusal(await mesh.rest("GET", "/v1/jobs/none"), 404, "JOB_NOT_FOUND");
  });
});

describe("a job", () => {
  async function ingestFolder(files: Record<string, string | Buffer>) {
    const folder = mkdtempSync(join(root, "job-"));
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    const started = await mesh.rest("POST", "/v1/collections/default/documents:ingest", { path: folder });
    expect(started.status, JSON.stringify(started.body)).toBe(200);
    return jobEnd(mesh, started.body.id);
  }

  test("goes on without a bad file and says what is wrong with it", async () => {
    const job = await ingestFolder({
      "good.md": "# Good\n\nThe good file is read.",
      "binary.txt": Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7) % 256)),
      "shift-jis.txt": Buffer.from("\x93\xfa\x96\x7b\x83\x8f".repeat(20), "latin1"),
      "empty.txt": "",
    });
    expect(job).toMatchObject({ state: "SUCCEEDED", total_documents: 4, done_documents: 4, failed_documents: 3 });
    const failures = Object.fromEntries(
      (job.failures as { document_id: string; reason: string; message: string }[]).map((failure) => [failure.document_id.split("/").at(-1), failure]),
    );
    for (const name of ["binary.txt", "shift-jis.txt", "empty.txt"]) {
      expect(failures[name]).toMatchObject({ reason: "UNREADABLE_DOCUMENT", message: expect.stringMatching(/\w/) });
    }
    const { body } = await mesh.rest("POST", "/v1/collections/default:retrieve", { query: "good file read" });
    expect(body.hits[0].text).toContain("The good file is read.");
  });

  test("leaves an unchanged file as it is", async () => {
    const folder = mkdtempSync(join(root, "twice-"));
    writeFileSync(join(folder, "a.md"), "Twice ingested, once written.");
    const once = async () => {
      const { body } = await mesh.rest("POST", "/v1/collections/default/documents:ingest", { path: folder });
      return jobEnd(mesh, body.id);
    };
    expect(await once()).toMatchObject({ skipped_documents: 0, done_documents: 1 });
    expect(await once()).toMatchObject({ skipped_documents: 1, done_documents: 1 });
  });

  test("takes a text of 50 MB within bounded memory", async () => {
    const line = "The quick brown fox jumps over the lazy dog near the river bank. ";
    const before = process.memoryUsage().rss;
    let peak = before;
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 20);
    const job = await ingestFolder({ "large.txt": line.repeat(Math.ceil((50 * 1024 * 1024) / line.length)) });
    clearInterval(watch);
    expect(job).toMatchObject({ state: "SUCCEEDED", failed_documents: 0 });
    expect(job.chunks).toBeGreaterThan(50_000);
    expect((peak - before) / 1024 / 1024).toBeLessThan(1200);
  }, 240_000);
});
