import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findSchemathesis, SCHEMATHESIS_REMEDY } from "../servers/schemathesis.js";
import { startTestMesh, type TestMesh } from "../support/mesh.js";

const run = promisify(execFile);
const KEY = "the-operator-s-key-of-this-test-mesh-only";
const SECONDS = 15;
const SEED = 20_261_121;

/** Streams that a client has to end, and uploads, whose form no schema says whole. */
const EXCLUDED = ["RagService_WatchJob", "RagService_UploadDocuments"];
const CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

const program = await findSchemathesis();
// Optional: it comes from another language's registry, and the gRPC fuzzing beside it needs nothing.
if (program === undefined) console.warn(`Skipped: Schemathesis is not available: ${SCHEMATHESIS_REMEDY}`);

let mesh: TestMesh;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ragents-fuzz-"));
  // Without a key, the first one that the fuzzer happens to make would shut it out.
  mesh = await startTestMesh({ RAGENTS_ADMIN_KEY: KEY });
});
afterAll(async () => {
  await mesh?.stop();
  await rm(folder, { recursive: true, force: true });
});

test.skipIf(program === undefined)(
  "requests made from the document, right and wrong ones, are never the server's failure, and answers are as documented",
  async () => {
    const args = [
      ...["run", `${mesh.url}/openapi.json`, "-H", `Authorization: Bearer ${KEY}`, "--checks", CHECKS],
      ...EXCLUDED.flatMap((id) => ["--exclude-operation-id", id]),
      // The schema of a stream is that of one event's data, which schemathesis takes for the event's.
      ...["--exclude-operation-id", "AgentService_StreamQuery"],
      ...["--phases", "coverage,fuzzing", "--max-examples", "5", "--max-time", String(SECONDS), "--seed", String(SEED)],
      ...["--request-timeout", "10", "--generation-database", "none", "--warnings", "off", "--no-color", "--workers", "2"],
    ];
    const stdout = await run(program!, args, { cwd: folder, maxBuffer: 64 << 20 }).then(
      (ended) => ended.stdout,
      (error: { stdout?: string }) => error.stdout ?? "",
    );
    // Its generator sometimes fails by itself, a "Runtime Error" that no request of ours is part of.
    if (/^Failures:|Network Error/m.test(stdout)) expect.fail(stdout);
    const [, cases] = /(\d+) generated/.exec(stdout) ?? [];
    // How many there are in the time depends on the machine.
    expect(Number(cases)).toBeGreaterThan(0);
    expect((await mesh.rest("GET", "/health")).body).toMatchObject({ status: "healthy" });
    console.info(`REST fuzz: ${cases} requests`);
  },
  90_000,
);

test("OpenAI's client needs a key as every other does, and is told so in its own form", async () => {
  const client = (apiKey: string) => new OpenAI({ baseURL: `${mesh.url}/v1`, apiKey, maxRetries: 0 });
  const chat = (apiKey: string) => client(apiKey).chat.completions.create({ model: "simple", messages: [{ role: "user", content: "What?" }] });
  await expect(chat("wrong")).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
  await expect(client("wrong").models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
  expect((await client(KEY).models.list()).data.length).toBeGreaterThan(4);
});
