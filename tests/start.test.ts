import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { startOpenAiDouble } from "./servers/openai-double.js";
import { copyCheckout } from "./support/checkout.js";
import { cleanEnv, FREE_PORTS, npmStart, runProgram, type StartedMesh } from "./support/program.js";

/** A fresh clone is built by the first start; everything after is seconds. */
const START_MS = 240_000;

let checkout: string;
let scratch: string;
let running: StartedMesh | undefined;

beforeAll(() => {
  checkout = copyCheckout();
  scratch = mkdtempSync(join(tmpdir(), "ragents-start-"));
});
afterEach(async () => {
  await running?.stop().catch(() => {});
  running = undefined;
});
afterAll(() => {
  rmSync(join(checkout, ".."), { recursive: true, force: true });
  rmSync(scratch, { recursive: true, force: true });
});

function ragents(url: string, ...args: string[]) {
  return runProgram(process.execPath, ["cli/ragents.mjs", "--url", url, ...args], { cwd: checkout, env: cleanEnv() });
}

async function post(url: string, body: unknown) {
  const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  return { status: response.status, body: (await response.json()) as never };
}

interface QueryBody {
  response: string;
  thread_id: string;
  agent_type: string;
  processing_time: number;
  metadata: { cached: boolean; model: string; collection: string; citations: { document_id: string; quote: string; start: number; end: number }[] };
}

describe("a clone", () => {
  test(
    "is started by npm start, fed and asked by the command, and remembers a conversation over kill -9",
    async () => {
      const data = join(scratch, "data");
      running = await npmStart(checkout, data);
      expect(running.printed()).toContain("the built-in extractive answerer");

      const notes = join(scratch, "notes");
      mkdirSync(notes, { recursive: true });
      writeFileSync(join(notes, "valve.md"), "# Osprey valve\n\nThe Osprey valve closes within 30 ms at 8 bar. It is serviced every 900 hours.\n");
      writeFileSync(join(notes, "pump.txt"), "The Heron pump moves 40 litres a minute. Its bearing is greased with lithium grease.\n");
      const ingested = await ragents(running.url, "ingest", notes, "--json");
      expect(ingested.code, ingested.stderr).toBe(0);
      expect(JSON.parse(ingested.stdout)).toMatchObject({ state: "JOB_STATE_SUCCEEDED", done_documents: "2", failed_documents: "0" });

      const fetched = await ragents(running.url, "ingest", "https://127.0.0.1/");
      expect(fetched).toMatchObject({ code: 1, stderr: expect.stringContaining("RAGENTS_INGEST_URLS") });

      const asked = await ragents(running.url, "ask", "How fast does the Osprey valve close?");
      expect(asked.code, asked.stderr).toBe(0);
      expect(asked.stdout).toContain("within 30 ms");
      expect(asked.stdout).toContain("notes/valve.md");

      const question = { query: "How much does the Heron pump move?", thread_id: "t-1" };
      const first = await post(`${running.url}/query`, question);
      expect(first.status).toBe(200);
      const answer: QueryBody = first.body;
      expect(answer).toMatchObject({ thread_id: "t-1", agent_type: "simple", metadata: { model: "extractive", collection: "default" } });
      expect(answer.response).toContain("40 litres");
      const [citation] = answer.metadata.citations;
      expect(citation?.document_id).toBe("notes/pump.txt");
      expect(citation?.quote).toContain("40 litres");

      await running.kill();
      running = await npmStart(checkout, data);
      const history = (await (await fetch(`${running.url}/v1/threads/t-1/messages`)).json()) as { messages: { role: string; content: string }[] };
      expect(history.messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
      expect(history.messages[1]?.content).toBe(answer.response);
      const next = await post(`${running.url}/query`, { query: "What is its bearing greased with?", thread_id: "t-1" });
      expect((next.body as QueryBody).response).toContain("lithium grease");

      const { status } = await ragents(running.url, "status").then((ended) => ({ status: ended.stdout }));
      expect(status).toMatch(/^healthy/);
      expect(status).toMatch(/default\s+2 documents/);
      expect(await running.stop()).toBe(0);
      running = undefined;
    },
    START_MS,
  );

  test(
    "goes on with a run over kill -9, from its last step",
    async () => {
      const data = join(scratch, "killed");
      let release = () => {};
      const until = new Promise<void>((resolve) => (release = resolve));
      const search = { name: "search_knowledge_base", arguments: { query: "valve" } };
      const double = await startOpenAiDouble(({ messages }) =>
        messages.some(({ role }) => role === "tool") ? { text: "It closes at 8 bar.", pauseAfter: 0, until } : { toolCalls: [search] },
      );
      onTestFinished(() => double.close());
      const variables = { OPENAI_BASE_URL: double.baseUrl, OPENAI_MODEL: "llama-3", RAGENTS_AGENT_LEASE_S: "1" };
      running = await npmStart(checkout, data, variables);
      const asked = await fetch(`${running.url}/v1/query:stream`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ query: "When does the valve close?", agent_type: "react", thread_id: "killed", resumable: true }),
      });
      let told = "";
      for await (const piece of asked.body!.pipeThrough(new TextDecoderStream())) if ((told += piece).includes('"name":"act"')) break;
      const eventId = [...told.matchAll(/^id: ?(.+)$/gm)].at(-1)?.[1] ?? "";
      await expect.poll(() => double.requests.length, { timeout: 10_000 }).toBe(2);
      await running.kill();
      release();

      running = await npmStart(checkout, data, variables);
      const rest = await (await fetch(`${running.url}/v1/query:resume?event_id=${encodeURIComponent(eventId)}`)).text();
      expect(rest).toContain('"response":"It closes at 8 bar."');
      expect(rest).not.toContain('"name":"act"');
      // The model's first turn and the search were stored: only the turn under way is taken again.
      expect(double.requests.map(({ messages }) => messages.filter(({ role }) => role === "tool").length)).toEqual([0, 1, 1]);
    },
    START_MS,
  );

  test(
    "says in a sentence what hinders a start, and exits 1",
    async () => {
      const data = join(scratch, "data");
      running = await npmStart(checkout, data);
      const start = (variables: Record<string, string>) =>
        runProgram("npm", ["start", "--silent"], { cwd: checkout, env: cleanEnv({ ...FREE_PORTS, ...variables }) });

      const second = await start({ RAGENTS_DATA_DIR: data });
      expect(second).toMatchObject({ code: 1, stdout: "" });
      expect(second.stderr).toMatch(/data folder .* is in use by another RAGents Mesh \(process \d+\)/);

      const taken = createServer().listen(0, "127.0.0.1");
      await new Promise((resolve) => taken.once("listening", resolve));
      const { port } = taken.address() as AddressInfo;
      for (const variable of ["RAGENTS_PORT", "RAGENTS_RAG_PORT", "RAGENTS_METRICS_PORT"]) {
        const blocked = await start({ RAGENTS_DATA_DIR: join(scratch, "blocked"), [variable]: String(port) });
        expect(blocked.code).toBe(1);
        expect(blocked.stderr.trim()).toBe(
          `Port ${port} on 127.0.0.1 is in use. Stop what listens there, or set ${variable} to another port (0 takes any free one).`,
        );
      }
      taken.close();

      const unwritable = await start({ RAGENTS_DATA_DIR: "/proc/ragents" });
      expect(unwritable.code).toBe(1);
      expect(unwritable.stderr).toMatch(/^The data folder \/proc\/ragents cannot be written to .* Set RAGENTS_DATA_DIR/);

      const open = await start({ RAGENTS_DATA_DIR: join(scratch, "open"), RAGENTS_HOST: "0.0.0.0" });
      expect(open.code).toBe(1);
      expect(open.stderr).toMatch(/^RAGENTS_HOST is 0\.0\.0\.0, but no authentication is configured/);

      const wrong = await start({ RAGENTS_DATA_DIR: join(scratch, "wrong"), RAGENTS_PORT: "eighty", RAGENTS_METRICS_PORT: "-1" });
      expect(wrong.code).toBe(1);
      expect(wrong.stderr).toMatch(/The configuration is wrong/);
    },
    START_MS,
  );

  test("refuses a Node that is too old before anything else", async () => {
    const pretend = "data:text/javascript,Object.defineProperty(process.versions,'node',{value:'18.20.8'})";
    const ended = await runProgram(process.execPath, ["--import", pretend, "scripts/setup.mjs"], { cwd: checkout, env: cleanEnv() });
    expect(ended).toMatchObject({ code: 1, stdout: "" });
    expect(ended.stderr).toMatch(/^RAGents Mesh needs Node 20\.19\.0 or newer; this is 18\.20\.8\./);
  });
});
