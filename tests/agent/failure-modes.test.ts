import { Code } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { reasonOf } from "../../runtime/errors.js";
import { failureOf } from "../failure-of.js";
import { type OpenAiDouble, startOpenAiDouble } from "../servers/openai-double.js";
import { type AgentMesh, startAgentMesh } from "./agent-mesh.js";
import { readStream } from "./stream-reader.js";

// What docs/failure-modes.md promises, one service at a time.

const QUESTION = "When does the pump stop?";

let mesh: AgentMesh;
let double: OpenAiDouble;

beforeAll(async () => {
  double = await startOpenAiDouble(() => ({ text: "Above 3 bar [1]." }));
});
afterEach(() => mesh.stop());
afterAll(() => double.close());

/** A mesh that has answered a question, and then loses a service. */
async function losing(service: Parameters<AgentMesh["end"]>[0]): Promise<{ threadId: string }> {
  mesh = await startAgentMesh({ OPENAI_BASE_URL: double.baseUrl, OPENAI_MODEL: "llama-3", RAGENTS_LLM_RETRIES: "0", RAGENTS_AGENT_MAX_RUNS: "2" });
  await mesh.ingest({ "pump.md": "# Pump P-7\n\nThe pump P-7 stops by itself when the pressure is above 3 bar." });
  const { threadId } = await mesh.agent.query({ query: QUESTION });
  await mesh.end(service);
  return { threadId };
}

describe("without the cache service", () => {
  test("everything is answered, each time anew", async () => {
    const { threadId } = await losing("cache");
    // What this replica had in its own memory may be told once more, but not for long.
    await expect.poll(async () => (await mesh.agent.query({ query: QUESTION })).metadata?.cached, { timeout: 10_000 }).toBe(false);
    expect((await mesh.agent.query({ query: "And why?", threadId })).response).toBe("Above 3 bar [1].");
    expect((await readStream(mesh.agent.streamQuery({ query: "Which pump?" }))).result?.metadata?.cached).toBe(false);
  }, 30_000);
});

describe("without the rate limit service", () => {
  test("runs are let in, and what finds no slot is refused at once", async () => {
    const { threadId } = await losing("ratelimit");
    expect((await mesh.agent.query({ query: "And why?", threadId })).response).toBe("Above 3 bar [1].");
    const { script } = double;
    double.script = () => ({ hang: true });
    const gone = new AbortController();
    const calls = double.requests.length;
    const running = [1, 2].map((n) => failureOf(mesh.agent.query({ query: `Number ${n}?` }, { signal: gone.signal })));
    await expect.poll(() => double.requests.length - calls, { timeout: 10_000 }).toBe(2);
    const error = await failureOf(mesh.agent.query({ query: "Number 3?" }));
    expect([error.code, reasonOf(error)]).toEqual([Code.ResourceExhausted, "OVERLOADED"]);
    gone.abort();
    await Promise.all(running);
    double.script = script;
  }, 30_000);
});

describe("without the rag service", () => {
  test("questions are UNAVAILABLE; greetings are answered, and conversations can be read", async () => {
    const { threadId } = await losing("rag");
    const asking = [mesh.agent.query({ query: "Which pump?" }), mesh.agent.query({ query: "Which pump?", threadId })];
    for (const error of await Promise.all(asking.map(failureOf))) expect(error.code).toBe(Code.Unavailable);
    expect((await mesh.agent.query({ query: "Hello!" })).response).not.toBe("");
    expect((await mesh.agent.listThreadMessages({ thread: threadId })).messages.length).toBeGreaterThanOrEqual(2);
  }, 30_000);
});

describe("without the checkpoint service", () => {
  test("questions are answered and not remembered; threads are UNAVAILABLE", async () => {
    const { threadId } = await losing("checkpoint");
    for (const query of ["Which pump stops?", "Which pump stops?"]) {
      const stream = await readStream(mesh.agent.streamQuery({ query }));
      expect([stream.result?.response, stream.result?.threadId, stream.text]).toEqual(["Above 3 bar [1].", "", "Above 3 bar [1]."]);
    }
    const fresh = await readStream(mesh.agent.streamQuery({ query: "Which one?", configOverrides: { bypassCache: true } }));
    expect(fresh.steps.map(({ name }) => name)).toEqual(["rewrite", "retrieve", "answer"]);
    const asking = [
      mesh.agent.query({ query: "And why?", threadId }),
      mesh.agent.query({ query: "Which pump?", idempotencyKey: "key" }),
      mesh.agent.getThread({ thread: threadId }),
      mesh.agent.listThreads({}),
      mesh.agent.cancelRun({ thread: threadId }),
    ];
    for (const error of await Promise.all(asking.map(failureOf))) expect(error.code).toBe(Code.Unavailable);
  }, 60_000);
});
