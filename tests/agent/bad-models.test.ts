import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { reasonOf } from "../../runtime/errors.js";
import { failureOf } from "../failure-of.js";
import { ManualClock } from "../manual-clock.js";
import type { OpenAiDouble } from "../servers/openai-double.js";
import { type AgentMesh, startModelMesh } from "./agent-mesh.js";
import { readStream } from "./stream-reader.js";

let mesh: AgentMesh;
let double: OpenAiDouble;

beforeAll(async () => {
  ({ mesh, double } = await startModelMesh());
});
beforeEach(() => {
  double.requests.length = 0;
});
afterAll(() => mesh.stop());

describe("a model that", () => {
  test.each([
    { name: "streams half and dies", reply: { text: "It stops above 3 bar.", breakAfter: 2 }, code: Code.Unavailable },
    { name: "answers with invalid JSON", reply: { raw: "data: {not json\n\n" }, code: Code.Unavailable },
    {
      name: "is given more than it takes",
      reply: { status: 400, error: { code: "context_length_exceeded", message: "maximum context length is 8192 tokens" } },
      code: Code.FailedPrecondition,
    },
  ])("$name is an error, is not remembered as an answer, and can be asked again", async ({ name, reply, code }) => {
    const request = { query: `When does the pump stop (${name})?`, threadId: `bad:${code}:${name.length}` };
    double.script = () => reply;
    const error = await failureOf(mesh.agent.query(request));
    expect([error.code, reasonOf(error)]).toEqual([code, "MODEL_UNAVAILABLE"]);
    if (code === Code.FailedPrecondition) expect(error.message).toContain("longer than the model");
    double.script = () => ({ text: "Above 3 bar [1]." });
    const answer = await mesh.agent.query(request);
    expect([answer.response, answer.metadata?.cached]).toEqual(["Above 3 bar [1].", false]);
    const { messages } = await mesh.agent.listThreadMessages({ thread: request.threadId });
    expect(messages.filter(({ role }) => role === "assistant").map(({ content }) => content)).toEqual(["Above 3 bar [1]."]);
  });

  test("loops on one tool must answer after ten rounds", async () => {
    double.script = ({ tools }) =>
      (tools ?? []).length > 0 ? { toolCalls: [{ name: "search_knowledge_base", arguments: { query: "pump" } }] } : { text: "Above 3 bar [1]." };
    const { steps, toolResults, result } = await readStream(mesh.agent.streamQuery({ query: "When does it stop?", agentType: "react" }));
    expect(steps.filter(({ name }) => name === "act")).toHaveLength(10);
    expect(toolResults.map(({ failed }) => failed)).toEqual([false, ...Array(9).fill(true)]);
    expect([steps.at(-1)?.name, result?.response]).toEqual(["finalize", "Above 3 bar [1]."]);
  }, 30_000);

  test("takes 301 seconds is not waited for: the run ends after 300, and the model's call with it", async () => {
    const clock = new ManualClock(Date.now());
    const env = { RAGENTS_LLM_FIRST_TOKEN_TIMEOUT_S: "600", RAGENTS_LLM_TIMEOUT_S: "600" };
    const agent = await mesh.replica(env, clock);
    double.script = () => ({ hang: true });
    const asking = failureOf(agent.query({ query: "When does the slow pump stop?", configOverrides: { bypassCache: true } }));
    await expect.poll(() => double.requests.length, { timeout: 10_000 }).toBe(1);
    await clock.advance(299_000);
    expect(double.requests[0]?.aborted).toBe(false);
    await clock.advance(2_000);
    const error = await asking;
    expect([error.code, reasonOf(error), error.message]).toEqual([Code.DeadlineExceeded, "DEADLINE_EXCEEDED", expect.stringContaining("300 s")]);
    await expect.poll(() => double.requests[0]?.aborted, { timeout: 10_000 }).toBe(true);
  }, 30_000);

  test("is slow is not waited for longer than its caller does", async () => {
    double.script = () => ({ hang: true });
    const asking = failureOf(mesh.agent.query({ query: "When does the other pump stop?" }, { timeoutMs: 1_500 }));
    expect((await asking).code).toBe(Code.DeadlineExceeded);
    await expect.poll(() => double.requests.at(-1)?.aborted, { timeout: 10_000 }).toBe(true);
  });
});
