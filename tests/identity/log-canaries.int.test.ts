import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createAgentClient } from "../../clients/agent/index.js";
import { GrpcCheckpointSaver } from "../../clients/checkpoint/index.js";
import { packageRoot } from "../../runtime/package-root.js";
import { cleanEnv, FREE_PORTS } from "../support/program.js";

/** Words that turn up nowhere by themselves; each must stay where it belongs. */
const CANARIES = {
  adminKey: "canary-admin-key-zoxwv-0123456789abcdef",
  modelKey: "canary-model-key-qpwof",
  wrongKey: `ragents_${"c".repeat(12)}_${"canarywrongkeyxkzbd".padEnd(43, "0")}`,
  bearer: "canary.bearer-token.hgqzn",
  prompt: "canaryprompt-vwjqa",
  document: "canarydocument-mzlqe",
  metadata: "canarymetadata-tbxwq",
  filter: "canaryfilter-jjqpe",
  answer: "canaryanswer-lqmvx",
  badRequest: "canarybadrequest-ooqzd",
  checkpoint: "canarycheckpoint-kqpmw",
  providerError: "canaryprovider-ppzqk",
};

/** A language model that answers twice, and from then on refuses, repeating what it was asked as some providers do. */
async function startEchoingModel(): Promise<{ server: Server; url: string }> {
  let asked = 0;
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    asked += 1;
    if (asked > 2) {
      response.writeHead(400, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: { message: `${CANARIES.providerError}: cannot answer ${body}`, type: "invalid_request_error" } }));
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    const delta = (content: object, finish: string | null) =>
      `data: ${JSON.stringify({ id: "1", object: "chat.completion.chunk", model: "m", choices: [{ index: 0, delta: content, finish_reason: finish }] })}\n\n`;
    response.end(`${delta({ role: "assistant", content: CANARIES.answer }, null)}${delta({}, "stop")}data: [DONE]\n\n`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1` };
}

describe("a mesh that logs everything it can", () => {
  const data = mkdtempSync(join(tmpdir(), "ragents-canaries-"));
  const secrets: string[] = [];
  let model: Awaited<ReturnType<typeof startEchoingModel>>;
  let output = "";
  let url = "";
  let ended: Promise<unknown>;
  let child: ReturnType<typeof spawn>;

  beforeAll(async () => {
    model = await startEchoingModel();
    child = spawn(process.execPath, ["--import", "tsx", "launcher/main.ts"], {
      cwd: packageRoot,
      env: cleanEnv({
        ...FREE_PORTS,
        RAGENTS_DATA_DIR: data,
        RAGENTS_LOG_LEVEL: "debug",
        RAGENTS_ADMIN_KEY: CANARIES.adminKey,
        OPENAI_BASE_URL: model.url,
        OPENAI_API_KEY: CANARIES.modelKey,
        OPENAI_MODEL: "m",
      }),
      stdio: ["ignore", "pipe", "pipe"],
    });
    ended = once(child, "close");
    for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (chunk: Buffer) => (output += chunk));
    const started = /REST, Connect +http:\S+[^]*npx ragents ask/;
    await vi.waitFor(() => expect(output).toMatch(started), { timeout: 60_000, interval: 100 });
    url = /REST, Connect +(http:\S+)/.exec(output)![1]!;
  }, 90_000);
  afterAll(async () => {
    child.kill("SIGTERM");
    await ended;
    model.server.close();
    rmSync(data, { recursive: true, force: true });
  });

  async function call(method: string, path: string, body?: unknown, key: string = CANARIES.adminKey) {
    const response = await fetch(url + path, {
      method,
      headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text.startsWith("{") ? JSON.parse(text) : text };
  }

  test("keeps secrets, prompts, documents and answers out of its log, whatever goes wrong with them", async () => {
    const created = await call("POST", "/v1/keys", { roles: ["admin"], display_name: "mine" });
    secrets.push(created.body.secret as string);
    const key = created.body.secret as string;
    for (const wrong of [CANARIES.wrongKey, CANARIES.bearer, `${key}x`]) expect((await call("GET", "/agents", undefined, wrong)).status).toBe(401);
    expect((await call("DELETE", `/v1/keys/${key}`)).status).toBe(400);

    const documents = [
      { id: "good", text: `The valve ${CANARIES.document} opens at 90 degrees.`, metadata: { note: CANARIES.metadata } },
      { id: "broken", text: CANARIES.document, mime_type: "application/pdf" },
    ];
    const { body: job } = await call("POST", "/v1/collections/default/documents:ingest", { documents, metadata: { note: CANARIES.metadata } });
    await expect.poll(async () => (await call("GET", `/v1/jobs/${job.id}`)).body.state, { timeout: 30_000, interval: 100 }).toMatch(/SUCCEEDED|FAILED/);
    await call("POST", "/v1/collections/default:retrieve", { query: CANARIES.prompt, filters: { note: CANARIES.filter } });
    await call("POST", "/v1/collections/default:retrieve", { query: CANARIES.prompt, filters: { note: { $bad: CANARIES.filter } } });

    // Answered, then refused by a model that repeats the prompt; streamed and not.
    const outcomes: number[] = [];
    for (let i = 0; i < 4; i += 1) {
      const question = { query: `When does the valve open? ${CANARIES.prompt} ${i}`, thread_id: `t${i % 2}` };
      outcomes.push((await call("POST", i % 2 === 0 ? "/query" : "/v1/query:stream", question)).status);
    }
    expect(outcomes).toContain(200);
    await call("GET", "/v1/threads/t0/messages");

    for (const body of [`{"query": "${CANARIES.badRequest}`, { query: CANARIES.badRequest, agent_type: CANARIES.badRequest }, { [CANARIES.badRequest]: 1 }]) {
      expect((await call("POST", "/query", body)).status).toBe(400);
    }
    await call("GET", `/v1/collections/${CANARIES.badRequest}/documents?page_token=${CANARIES.badRequest}`);

    const address = /checkpoint ([\d.:]+)/.exec(output)![1]!;
    const saver = new GrpcCheckpointSaver({ address, apiKey: key });
    const checkpoint = { v: 4, id: "1", ts: "", channel_values: { c: CANARIES.checkpoint }, channel_versions: { c: 1 }, versions_seen: {} };
    await saver.put({ configurable: { thread_id: "t", checkpoint_ns: "" } }, checkpoint, { source: "input", step: 0, parents: {} }, { c: 1 });
    saver.close();
    const agent = createAgentClient({ address: /agent ([\d.:]+)/.exec(output)![1]!, apiKey: CANARIES.wrongKey });
    await agent.query({ query: CANARIES.prompt }).catch(() => {});
    agent.close();

    // The log is complete when the line of the last call is there.
    await call("POST", "/cache/clear", {}, key);
    await expect.poll(() => output, { timeout: 10_000 }).toContain('CacheService/Clear","tenant"');
    expect(output.match(/"event":"rpc"/g)?.length).toBeGreaterThan(10);
    expect(output).toContain('"event":"rpc_refused"');
    expect(output).toContain('"event":"audit"');

    const words = [...Object.values(CANARIES), ...secrets.map((secret) => secret.slice(21))];
    const leaked = words.flatMap((word) => output.split("\n").filter((line) => line.includes(word)).map((line) => `${word}: ${line.slice(0, 400)}`));
    expect(leaked).toEqual([]);
  }, 120_000);
});
