import { randomUUID } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { reasonOf, retryAfterMsOf } from "../../runtime/errors.js";
import { failureOf } from "../failure-of.js";
import { type OpenAiDouble, startOpenAiDouble } from "../servers/openai-double.js";
import { type AgentMesh, startAgentMesh } from "./agent-mesh.js";
import { readStream } from "./stream-reader.js";

const PUMP = `# Pump P-7

The pump P-7 moves water from the tank to the boiler. Its capacity is 40 litres a minute.
It stops by itself when the pressure is above 3 bar.`;
const VALVE = `# Valve V-2

The valve V-2 opens when the temperature of the boiler is above 90 degrees. It is made of brass.`;

let mesh: AgentMesh;
let double: OpenAiDouble;

beforeAll(async () => {
  double = await startOpenAiDouble();
  mesh = await startAgentMesh();
  await mesh.ingest({ "pump.md": PUMP, "valve.md": VALVE });
});
afterAll(async () => {
  await mesh.stop();
  await double.close();
});

describe("a question", () => {
  test("is answered in the documents' words, with citations that lie where they say", async () => {
    const answer = await mesh.agent.query({ query: "When does the pump stop?" });
    expect(answer.response).toContain("It stops by itself when the pressure is above 3 bar.");
    expect(answer.agentType).toBe("simple");
    expect(answer.threadId).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer.processingTime).toBeGreaterThan(0);
    expect(answer.metadata).toMatchObject({ cached: false, model: "extractive", collection: "default", traceId: expect.stringMatching(/./) });
    const citations = answer.metadata?.citations ?? [];
    expect(citations.map(({ index }) => `[${index}]`)).toEqual(answer.response.match(/\[\d\]/g));
    for (const { documentId, start, end, quote } of citations) {
      expect(documentId).toBe("pump.md");
      expect(PUMP.slice(start, end)).toBe(quote);
    }
  });

  test("that the documents do not answer is told so", async () => {
    const answer = await mesh.agent.query({ query: "Who painted the Mona Lisa?" });
    expect(answer.response).toBe("The documents do not answer this question.");
    expect(answer.metadata?.citations).toEqual([]);
  });

  test("asked again comes from the cache, in a thread of its own that can be gone on with", async () => {
    const query = "When does the valve open?";
    const first = await mesh.agent.query({ query });
    const again = await mesh.agent.query({ query: `  ${query} ` });
    expect([first.metadata?.cached, again.metadata?.cached]).toEqual([false, true]);
    expect(again.response).toBe(first.response);
    expect(again.metadata?.citations).toEqual(first.metadata?.citations);
    expect(again.threadId).not.toBe(first.threadId);
    const next = await mesh.agent.query({ query: "What is it made of?", threadId: again.threadId });
    expect(next.response).toContain("brass");
    const { messages } = await mesh.agent.listThreadMessages({ thread: again.threadId });
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "user", "assistant"]);
  });

  test("is answered from the cache when it is the first of a thread that the caller named", async () => {
    const query = "What is the capacity of the pump?";
    await mesh.agent.query({ query });
    const answer = await mesh.agent.query({ query, threadId: "cached:named" });
    expect([answer.metadata?.cached, answer.threadId]).toEqual([true, "cached:named"]);
    expect((await mesh.agent.getThread({ thread: "cached:named" })).thread?.messageCount).toBe(2);
  });

  test.each([
    { name: "another collection", configOverrides: { collection: "other" } },
    { name: "other parameters", configOverrides: { topK: 7 } },
    { name: "filters", configOverrides: { filters: { kind: "pump" } } },
    { name: "another mode", configOverrides: { mode: "keyword" } },
    { name: "a wish for a fresh answer", configOverrides: { bypassCache: true } },
  ])("with $name is another question", async ({ configOverrides }) => {
    if (configOverrides.collection !== undefined) await mesh.rag.createCollection({ id: "other" });
    const query = "What does the pump P-7 move?";
    await mesh.agent.query({ query });
    expect((await mesh.agent.query({ query })).metadata?.cached).toBe(true);
    expect((await mesh.agent.query({ query, configOverrides })).metadata?.cached).toBe(false);
  });

  test("is answered afresh when the documents have changed", async () => {
    const query = "What colour is the lamp L-1?";
    await mesh.ingest({ "lamp.md": "# Lamp\n\nThe lamp L-1 has the colour green." });
    expect((await mesh.agent.query({ query })).response).toContain("green");
    expect((await mesh.agent.query({ query })).metadata?.cached).toBe(true);
    await mesh.ingest({ "lamp.md": "# Lamp\n\nThe lamp L-1 has the colour red." });
    // The one is in the cache as it was before, the other is not; many ask before they can know of the change.
    for (const asked of [query, "Which colour does the lamp have now?"]) {
      await mesh.ingest({ "other.md": `# Other\n\nOf ${asked.length} letters.` });
      const answers = await Promise.all(Array.from({ length: 5 }, () => mesh.agent.query({ query: asked })));
      for (const { response } of answers) expect(response).toContain("red");
      expect(answers.filter(({ metadata }) => metadata?.cached === false)).toHaveLength(1);
    }
  });

  test("asked by many at the same time is answered once", async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => mesh.agent.query({ query: "Which water does the pump move to the boiler?" })),
    );
    expect(answers.filter(({ metadata }) => metadata?.cached === false)).toHaveLength(1);
    expect(new Set(answers.map(({ threadId }) => threadId)).size).toBe(20);
    expect(new Set(answers.map(({ response }) => response)).size).toBe(1);
  });

  test("that only greets is not looked up", async () => {
    const { cases, steps, result } = await readStream(mesh.agent.streamQuery({ query: "Hello!" }));
    expect(steps.map(({ name }) => name)).toEqual(["rewrite", "answer"]);
    expect(cases.at(-1)).toBe("result");
    expect(result?.response).toMatch(/Ask a question/);
  });
});

describe("a stream", () => {
  test("tells steps, text and citations as they come, and the response last, with an id each", async () => {
    const request = { query: "Which pressure stops the pump?", configOverrides: { bypassCache: true } };
    const { events, steps, citations, cases, text, result } = await readStream(mesh.agent.streamQuery(request));
    expect(steps.map(({ name }) => name)).toEqual(["rewrite", "retrieve", "answer"]);
    expect(cases.indexOf("token")).toBeLessThan(cases.indexOf("citation"));
    expect(cases.at(-1)).toBe("result");
    expect(text).toBe(result?.response);
    expect(citations).toEqual(result?.metadata?.citations);
    expect([cases[0], ...cases.slice(-2)]).toEqual(["started", "usage", "result"]);
    expect(new Set(events.map(({ eventId }) => eventId)).size).toBe(events.length);
  });

  test("of a cached answer has the same text, citations and response", async () => {
    const query = "At which temperature does the valve V-2 open?";
    const first = await readStream(mesh.agent.streamQuery({ query }));
    const again = await readStream(mesh.agent.streamQuery({ query }));
    expect([again.text, again.result?.metadata?.cached]).toEqual([first.text, true]);
    expect(again.result?.metadata?.citations).toEqual(first.result?.metadata?.citations);
  });
});

describe("a thread", () => {
  test("is gone on with on another replica, which resolves what a question refers to", async () => {
    const { threadId } = await mesh.agent.query({ query: "When does the pump stop?" });
    const other = await mesh.replica();
    const answer = await other.query({ query: "What is its capacity?", threadId });
    expect(answer.response).toContain("40 litres");
    expect(answer.metadata?.cached).toBe(false);
  });

  test("lists its messages in pages", async () => {
    const { threadId } = await mesh.agent.query({ query: "When does the pump stop?" });
    await mesh.agent.query({ query: "And the valve?", threadId });
    const first = await mesh.agent.listThreadMessages({ thread: threadId, pageSize: 3 });
    const second = await mesh.agent.listThreadMessages({ thread: threadId, pageSize: 3, pageToken: first.nextPageToken });
    expect(first.messages.map(({ content }) => content)[0]).toBe("When does the pump stop?");
    expect(first.messages[1]?.citations[0]).toMatchObject({ index: 1, documentId: "pump.md" });
    expect([first.messages.length, second.messages.length, second.nextPageToken]).toEqual([3, 1, ""]);
    const { thread } = await mesh.agent.getThread({ thread: threadId });
    expect(thread).toMatchObject({ id: threadId, messageCount: 4 });
    expect(thread?.updateTime).toEqual(second.messages[0]?.createTime);
    const wrong = await failureOf(mesh.agent.listThreadMessages({ thread: threadId, pageToken: "nonsense" }));
    expect([wrong.code, reasonOf(wrong)]).toEqual([Code.InvalidArgument, "INVALID_PAGE_TOKEN"]);
  });

  test("of a cached answer is there though its process died before it was stored", async () => {
    const query = "From where to where does the pump P-7 move water?";
    await mesh.agent.query({ query });
    const { threadId } = await mesh.agent.query({ query });
    // What a process that was killed after its answer leaves: an id that nothing is stored under.
    const never = `${randomUUID()}${threadId.slice(36)}`;
    expect((await mesh.agent.getThread({ thread: never })).thread?.messageCount).toBe(2);
    const answer = await mesh.agent.query({ query: "And what is its capacity?", threadId: never });
    expect(answer.response).toContain("40 litres");
    const { messages } = await mesh.agent.listThreadMessages({ thread: never });
    expect(messages.map(({ content }) => content)).toEqual([query, expect.any(String), "And what is its capacity?", answer.response]);
  });

  test.each(["answered by the agent", "answered from the cache"])("that was %s is gone when it was deleted", async (how) => {
    if (how === "answered from the cache") await mesh.agent.query({ query: "When does the pump stop?" });
    const configOverrides = { bypassCache: how === "answered by the agent" };
    const { threadId } = await mesh.agent.query({ query: "When does the pump stop?", configOverrides });
    await mesh.agent.deleteThread({ thread: threadId });
    for (const call of [
      mesh.agent.getThread({ thread: threadId }),
      mesh.agent.listThreadMessages({ thread: threadId }),
      mesh.agent.deleteThread({ thread: threadId }),
    ]) {
      const error = await failureOf(call);
      expect([error.code, reasonOf(error)]).toEqual([Code.NotFound, "THREAD_NOT_FOUND"]);
    }
  });
});

describe("bad input", () => {
  test("an unknown agent is refused naming the known ones", async () => {
    const error = await failureOf(mesh.agent.query({ query: "Hello?", agentType: "magic" }));
    expect([error.code, reasonOf(error)]).toEqual([Code.InvalidArgument, "UNKNOWN_AGENT"]);
    const { agents } = await mesh.agent.listAgents({});
    expect(agents.map(({ agentType }) => agentType)).toContain("simple");
    for (const { agentType } of agents) expect(error.message).toContain(agentType);
  });

  test.each([
    { configOverrides: { collection: "nowhere" }, code: Code.NotFound, reason: "COLLECTION_NOT_FOUND" },
    { configOverrides: { model: "gpt-9" }, code: Code.InvalidArgument, reason: "UNKNOWN_MODEL" },
    { configOverrides: { filters: { $magic: 1 } }, code: Code.InvalidArgument, reason: "INVALID_FILTER" },
  ])("$reason is refused, streamed or not", async ({ configOverrides, code, reason }) => {
    const request = { query: "When does the pump stop?", configOverrides };
    for (const call of [mesh.agent.query(request), readStream(mesh.agent.streamQuery(request))]) {
      const error = await failureOf(call);
      expect([error.code, reasonOf(error)]).toEqual([code, reason]);
    }
  });
});

describe("with a language model", () => {
  let agent: AgentMesh["agent"];
  let calls: number;

  beforeAll(async () => {
    agent = await mesh.replica({ OPENAI_BASE_URL: double.baseUrl, OPENAI_MODEL: "llama-3", RAGENTS_AGENT_MAX_RUNS: "2", RAGENTS_AGENT_MAX_WAITING: "1", RAGENTS_LLM_RETRIES: "0" });
  });
  beforeEach(() => {
    calls = double.requests.length;
    double.script = () => ({ text: "It stops above 3 bar [1], they say [9]." });
  });
  afterEach(() => {
    double.script = () => ({ text: "ok" });
  });

  test("the answer is the model's, bound to the passages that it was shown, and cached with its cost at zero", async () => {
    const query = "When does the pump P-7 stop, in your words?";
    const { text, result } = await readStream(agent.streamQuery({ query }));
    expect(text).toBe("It stops above 3 bar [1], they say.");
    expect(result?.metadata).toMatchObject({ model: "llama-3", usage: { inputTokens: 100n, outputTokens: 9n, totalTokens: 109n } });
    expect(result?.metadata?.citations).toHaveLength(1);
    const again = await agent.query({ query });
    expect(again.metadata).toMatchObject({ cached: true, model: "llama-3", usage: { totalTokens: 0n } });
    expect(double.requests.length - calls).toBe(1);
    expect(double.requests.at(-1)?.messages[0]?.content).toContain("It stops by itself when the pressure is above 3 bar.");
  });

  test("a question in a conversation is rewritten by the model, and the last 20 messages go along", async () => {
    double.script = ({ messages }) =>
      messages[0]?.content.startsWith("Rewrite") ? { text: "What is the capacity of the pump P-7?" } : { text: "40 litres [1]." };
    const threadId = "llm:conversation";
    for (let i = 0; i < 12; i += 1) await agent.query({ query: `Question number ${i}?`, threadId });
    const { steps } = await readStream(agent.streamQuery({ query: "And its capacity?", threadId }));
    expect(steps[0]?.summary).toBe("Understood as: What is the capacity of the pump P-7?");
    const asked = double.requests.at(-1)?.messages ?? [];
    expect(asked).toHaveLength(1 + 20);
    expect(asked.at(-1)).toMatchObject({ role: "user", content: "And its capacity?" });
    expect(asked[0]?.content).toContain("Its capacity is 40 litres a minute.");
  });

  test("a model that fails is MODEL_UNAVAILABLE, and nothing is cached", async () => {
    const request = { query: "When does the failing pump stop?" };
    double.script = () => ({ status: 429, headers: { "retry-after": "3" } });
    const error = await failureOf(agent.query(request));
    expect([error.code, reasonOf(error), retryAfterMsOf(error)]).toEqual([Code.Unavailable, "MODEL_UNAVAILABLE", 3000]);
    double.script = () => ({ text: "Now [1]." });
    expect((await agent.query(request)).metadata?.cached).toBe(false);
  });

  test("a model that fails is stood in for where that is configured, and that answer is not cached", async () => {
    double.script = () => ({ status: 500 });
    const env = { OPENAI_BASE_URL: double.baseUrl, OPENAI_MODEL: "llama-3", RAGENTS_LLM_RETRIES: "0", RAGENTS_LLM_FALLBACK: "extractive" };
    const careful = await mesh.replica(env);
    for (let i = 0; i < 2; i += 1) {
      const answer = await careful.query({ query: "When does the pump P-7 stop by itself?" });
      expect(answer.response).toContain("above 3 bar");
      expect(answer.metadata).toMatchObject({ cached: false, model: "extractive" });
    }
  });

  test.each(["simple", "logical", "langgraph", "react"])("in a conversation with %s too: it knows what the question refers to", async (agentType) => {
    double.script = () => ({ status: 500 });
    const env = { OPENAI_BASE_URL: double.baseUrl, OPENAI_MODEL: "llama-3", RAGENTS_LLM_RETRIES: "0", RAGENTS_LLM_FALLBACK: "extractive" };
    const careful = await mesh.replica(env);
    const threadId = `llm:stood-in-for:${agentType}`;
    await careful.query({ query: "When does the pump P-7 stop by itself?", threadId, agentType });
    const { response, metadata } = await careful.query({ query: "And what is its capacity?", threadId, agentType });
    expect([response, metadata?.model]).toEqual([expect.stringContaining("40 litres a minute"), "extractive"]);
  });

  test("a thread takes one run at a time, a replica as many as it may", async () => {
    double.script = () => ({ hang: true });
    const gone = new AbortController();
    const runs = ["busy:1", "busy:2"].map((threadId) =>
      failureOf(agent.query({ query: `Where is ${threadId}?`, threadId }, { signal: gone.signal })),
    );
    await expect.poll(() => double.requests.length - calls, { timeout: 10_000 }).toBe(2);
    const busy = await failureOf(mesh.agent.query({ query: "And now?", threadId: "busy:1" }));
    expect([busy.code, reasonOf(busy)]).toEqual([Code.Aborted, "THREAD_BUSY"]);
    // One of both waits for its turn, and the other one is refused.
    const more = ["Is there room?", "And is there room for me?"].map((query) => agent.query({ query }));
    const full = await failureOf(Promise.race(more));
    expect([full.code, reasonOf(full), retryAfterMsOf(full)]).toEqual([Code.ResourceExhausted, "OVERLOADED", 1000]);
    double.script = () => ({ text: "Here [1]." });
    gone.abort();
    const answers = (await Promise.allSettled(more)).flatMap((end) => (end.status === "fulfilled" ? [end.value.response] : []));
    expect(answers).toEqual(["Here [1]."]);
    for (const error of await Promise.all(runs)) expect(error.code).toBe(Code.Canceled);
    // The model's calls end with the runs, and both thread and room are free again.
    await expect.poll(() => double.requests.slice(calls, calls + 2).every(({ aborted }) => aborted), { timeout: 10_000 }).toBe(true);
    double.script = () => ({ text: "Here [1]." });
    await expect.poll(() => agent.query({ query: "And now?", threadId: "busy:1" }).then(() => true, () => false), { timeout: 10_000 }).toBe(true);
  });
});
