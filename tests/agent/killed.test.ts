import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAgentClient, followQuery } from "../../clients/agent/index.js";
import { reasonOf } from "../../runtime/errors.js";
import { type OpenAiDouble, startOpenAiDouble } from "../servers/openai-double.js";
import { type ServiceProcess, startServiceProcess } from "../servers/service-process.js";
import { type AgentMesh, startAgentMesh } from "./agent-mesh.js";

/** How often a replica is killed at a random moment. */
const KILLS = Number(process.env["RAGENTS_TEST_KILLS"] ?? 3);
const ANSWER = "It stops above 300 kPa [1], as the manual of the pump says, and the valve is there for the rest.";
const STEPS = ["think", "act", "think", "act", "think"];

let mesh: AgentMesh;
let double: OpenAiDouble;

beforeAll(async () => {
  double = await startOpenAiDouble(({ messages }) => {
    const observed = messages.filter(({ role }) => role === "tool").length;
    const delayMs = 40;
    if (observed === 0) return { delayMs, toolCalls: [{ name: "search_knowledge_base", arguments: { query: "pump pressure" } }] };
    if (observed === 1) return { delayMs, toolCalls: [{ name: "convert_bar", arguments: { bar: 3 } }] };
    return { delayMs, text: ANSWER, betweenMs: 5 };
  });
  mesh = await startAgentMesh({
    OPENAI_BASE_URL: double.baseUrl,
    OPENAI_MODEL: "llama-3",
    RAGENTS_LLM_RETRIES: "0",
    RAGENTS_AGENT_LEASE_S: "1",
    RAGENTS_AGENT_TAKEOVER_S: "0",
    RAGENTS_AGENT_TOOLS: `${import.meta.dirname}/tools`,
  });
  await mesh.ingest({ "pump.md": "# Pump P-7\n\nThe pump P-7 stops by itself when the pressure is above 3 bar." });
}, 60_000);
afterAll(async () => {
  await mesh.stop();
  await double.close();
});

/** The services of the mesh with this replica first, and the one of the test's process when it is gone. */
function clientOf(victim: ServiceProcess) {
  const client = createAgentClient({ address: victim.address, timeoutMs: 20_000 });
  let isGone = false;
  return {
    streamQuery: (...args: Parameters<typeof client.streamQuery>) => (isGone ? mesh.agent : client).streamQuery(...args),
    resumeStream: (...args: Parameters<typeof client.resumeStream>) => (isGone ? mesh.agent : client).resumeStream(...args),
    async end(signal: "SIGKILL" | "SIGTERM") {
      isGone = true;
      await victim.signal(signal);
    },
    close: () => client.close(),
  };
}

/** Asks a replica that is ended while it answers, and reads on to the end. */
async function askWhileEnding(victim: ServiceProcess, signal: "SIGKILL" | "SIGTERM", when: () => Promise<unknown>) {
  const client = clientOf(victim);
  const threadId = `killed:${randomUUID()}`;
  const request = {
    ...{ query: "At how many kPa does the pump stop?", agentType: "react", threadId, idempotencyKey: randomUUID() },
    configOverrides: { bypassCache: true },
  };
  const steps: string[] = [];
  const ids: string[] = [];
  let text = "";
  let response = "";
  let callsOfOthers = 0;
  let doneBefore = 0;
  const ending = when().then(async () => {
    await client.end(signal);
    await victim.ended;
    callsOfOthers = double.requests.length;
    const trail = await mesh.agent.getThreadState({ thread: threadId }).then(({ state }) => state?.values?.["trail"], () => []);
    doneBefore = (trail as { name: string }[]).filter(({ name }) => name === "think").length;
  });
  for await (const { eventId, event } of followQuery(client as never, request)) {
    ids.push(eventId);
    if (event.case === "step") steps.push(event.value.name);
    if (event.case === "token") text += event.value.text;
    if (event.case === "restarted") text = "";
    if (event.case === "result") response = event.value.response;
  }
  await ending;
  client.close();
  expect(steps).toEqual(STEPS);
  expect(new Set(ids).size).toBe(ids.length);
  expect([text, response]).toEqual([ANSWER, ANSWER]);
  expect((await mesh.agent.getThread({ thread: threadId })).thread?.messageCount).toBe(2);
  return { callsAfter: double.requests.length - callsOfOthers, doneBefore };
}

describe("a replica that is killed while it answers", () => {
  test(`is another one's to go on for, from the last step that was stored (${KILLS} times)`, async () => {
    for (let i = 0; i < KILLS; i += 1) {
      const victim = await startServiceProcess("agent", mesh.env);
      const moment = 20 + Math.random() * 600;
      const { callsAfter, doneBefore } = await askWhileEnding(victim, "SIGKILL", () => new Promise((resolve) => setTimeout(resolve, moment)));
      // A model's turn that was stored is not taken again; only what was under way is.
      expect(callsAfter, `killed after ${moment} ms`).toBe(3 - doneBefore);
    }
  }, 30_000 + KILLS * 15_000);
});

describe("a replica that is told to stop while it answers", () => {
  test("hands the run over: its stream goes on elsewhere at once", async () => {
    const victim = await startServiceProcess("agent", { ...mesh.env, RAGENTS_AGENT_HANDOVER_S: "0", RAGENTS_AGENT_LEASE_S: "600" });
    const calls = double.requests.length;
    const { callsAfter, doneBefore } = await askWhileEnding(victim, "SIGTERM", () =>
      expect.poll(() => double.requests.length - calls, { timeout: 20_000, interval: 5 }).toBeGreaterThan(1),
    );
    expect(doneBefore).toBeGreaterThan(0);
    expect(callsAfter).toBeLessThanOrEqual(3 - doneBefore);
  }, 60_000);

  test("lets those that do not follow have their answer, within the time for that", async () => {
    const victim = await startServiceProcess("agent", mesh.env);
    const client = createAgentClient({ address: victim.address });
    const calls = double.requests.length;
    const asking = client.query({ query: "At how many kPa does it stop, please?", agentType: "react", configOverrides: { bypassCache: true } });
    await expect.poll(() => double.requests.length - calls, { timeout: 20_000, interval: 5 }).toBe(1);
    await victim.signal("SIGTERM");
    expect((await asking).response).toBe(ANSWER);
    await victim.ended;
    client.close();
  }, 60_000);

  test("tells those that do not follow to go on elsewhere", async () => {
    const victim = await startServiceProcess("agent", { ...mesh.env, RAGENTS_AGENT_HANDOVER_S: "0" });
    const client = createAgentClient({ address: victim.address });
    const { script } = double;
    double.script = () => ({ hang: true });
    const calls = double.requests.length;
    const asking = client.query({ query: "At how many kPa, again?", agentType: "react" }).catch((error: unknown) => error);
    await expect.poll(() => double.requests.length - calls, { timeout: 20_000 }).toBe(1);
    double.script = script;
    await victim.signal("SIGTERM");
    expect(reasonOf(await asking)).toBe("SHUTTING_DOWN");
    await victim.ended;
    client.close();
  }, 60_000);
});

describe("a run that nobody asks for again", () => {
  test.each(["SIGKILL", "SIGTERM"] as const)("is finished by another replica when its own ends with %s", async (signal) => {
    const victim = await startServiceProcess("agent", { ...mesh.env, RAGENTS_AGENT_HANDOVER_S: "0" });
    const client = createAgentClient({ address: victim.address });
    const { script } = double;
    const hanging = (request: Parameters<typeof script>[0], count: number) =>
      request.messages.some(({ role }) => role === "tool") ? { hang: true } : script(request, count);
    double.script = hanging;
    const calls = double.requests.length;
    const threadId = `abandoned:${randomUUID()}`;
    const reading = (async () => {
      for await (const _ of client.streamQuery({ query: "At how many kPa?", agentType: "react", threadId, resumable: true }));
    })().catch(() => {});
    await expect.poll(() => double.requests.length - calls, { timeout: 20_000 }).toBe(2);
    await victim.signal(signal);
    await Promise.all([victim.ended, reading]);
    client.close();
    double.script = script;
    const other = await mesh.replica({ RAGENTS_AGENT_TAKEOVER_S: "1" });
    await expect
      .poll(async () => (await other.listThreadMessages({ thread: threadId })).messages.map(({ content }) => content), { timeout: 20_000 })
      .toEqual(["At how many kPa?", ANSWER]);
    // The turn that was stored was not taken again, and the lease is free.
    expect(double.requests.length - calls).toBe(4);
    await other.query({ query: "And now?", agentType: "react", threadId });
  }, 60_000);
});
