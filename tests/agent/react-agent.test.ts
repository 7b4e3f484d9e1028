import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { OpenAiDouble, ReceivedRequest, ScriptedReply } from "../servers/openai-double.js";
import { type AgentMesh, startModelMesh } from "./agent-mesh.js";
import { readStream } from "./stream-reader.js";

const PUMP = "# Pump P-7\n\nThe pump P-7 moves water to the boiler. It stops when the pressure is above 3 bar.";
const VALVE = "# Valve V-2\n\nThe valve V-2 is made of brass.";

let mesh: AgentMesh;
let double: OpenAiDouble;

beforeAll(async () => {
  const tools = { RAGENTS_AGENT_TOOLS: join(import.meta.dirname, "tools") };
  ({ mesh, double } = await startModelMesh(tools, { texts: { "pump.md": PUMP, "valve.md": VALVE } }));
});
afterAll(() => mesh.stop());
beforeEach(() => {
  double.requests.length = 0;
});

/** Answers with these in turn. */
const inTurn = (...replies: ScriptedReply[]) => {
  double.script = (_, count) => replies[count - 1] ?? { status: 500 };
};
const search = (query: string) => ({ name: "search_knowledge_base", arguments: { query } });
const toolTexts = (request: ReceivedRequest | undefined) => request?.messages.filter(({ role }) => role === "tool").map(({ content }) => content) ?? [];

describe("the react agent", () => {
  test("searches, uses what it found, and cites it", async () => {
    inTurn(
      { toolCalls: [search("pump pressure"), search("valve material")] },
      { toolCalls: [{ name: "convert_bar", arguments: { bar: 3 } }] },
      { text: "It stops above 300 kPa [1], and the valve is of brass [2]." },
    );
    const request = { query: "At how many kPa does the pump stop, and what is the valve of?", agentType: "react" };
    const { steps, text, citations, toolResults, cases, result } = await readStream(mesh.agent.streamQuery(request));
    expect(steps.map(({ name }) => name)).toEqual(["think", "act", "think", "act", "think"]);
    expect(toolResults).toMatchObject([
      { name: "search_knowledge_base", failed: false },
      { name: "search_knowledge_base", failed: false },
      { name: "convert_bar", failed: false, summary: 'Returned: {"kilopascal":300}' },
    ]);
    expect(cases.indexOf("toolCall")).toBeLessThan(cases.indexOf("toolResult"));
    expect(text).toBe(result?.response);
    expect(citations).toEqual(result?.metadata?.citations);
    expect(new Set(citations.map(({ documentId }) => documentId))).toEqual(new Set(["pump.md", "valve.md"]));
    expect(result?.metadata?.usage).toMatchObject({ inputTokens: 300n });
    expect(double.requests[0]?.tools?.map((tool) => tool.function.name)).toEqual(["search_knowledge_base", "convert_bar"]);
    expect(toolTexts(double.requests[1]).join()).toContain('<passage number="1"');
  });

  test("is told what went wrong with a call, and goes on", async () => {
    inTurn(
      { toolCalls: [{ name: "convert_bar", arguments: { bar: -1 } }, { name: "magic", arguments: {} }, { name: "convert_bar", arguments: "three bar" }] },
      { text: "I cannot say." },
    );
    const { toolResults, result } = await readStream(mesh.agent.streamQuery({ query: "What is minus one bar?", agentType: "react" }));
    expect(toolResults.map(({ failed }) => failed)).toEqual([true, true, true]);
    expect(toolTexts(double.requests[1])).toEqual([
      expect.stringContaining("The arguments are wrong"),
      expect.stringContaining("There is no tool magic; known: search_knowledge_base, convert_bar."),
      expect.stringContaining("The arguments are wrong"),
    ]);
    expect(result?.response).toBe("I cannot say.");
  });

  test("that goes round and round is stopped after 10 rounds and has to answer", async () => {
    double.script = ({ tools }) => (tools === undefined ? { text: "So it is brass [1]." } : { toolCalls: [search("valve")] });
    const { steps, toolResults, result } = await readStream(mesh.agent.streamQuery({ query: "What is the valve V-2 of?", agentType: "react" }));
    expect(steps.filter(({ name }) => name === "act")).toHaveLength(10);
    expect(steps.at(-1)?.name).toBe("finalize");
    // The same call is made once.
    expect(toolResults.map(({ failed }) => failed)).toEqual([false, ...Array.from({ length: 9 }, () => true)]);
    expect(result?.response).toBe("So it is brass [1].");
    expect(result?.metadata?.citations).toMatchObject([{ documentId: "valve.md" }]);
  });

  test("keeps its work out of the conversation", async () => {
    inTurn({ toolCalls: [search("pump")] }, { text: "Above 3 bar [1]." }, { text: "Brass, I think." });
    const threadId = "react:conversation";
    await mesh.agent.query({ query: "When does the pump P-7 stop?", agentType: "react", threadId });
    await mesh.agent.query({ query: "And what is the valve of?", agentType: "react", threadId });
    const { messages } = await mesh.agent.listThreadMessages({ thread: threadId });
    expect(messages.map(({ content }) => content)).toEqual([
      "When does the pump P-7 stop?",
      "Above 3 bar [1].",
      "And what is the valve of?",
      "Brass, I think.",
    ]);
    expect(double.requests.at(-1)?.messages.map(({ role }) => role)).toEqual(["system", "user", "assistant", "user"]);
  });

  test("searches once where no model calls tools", async () => {
    const request = { query: "What is the valve V-2 made of?", agentType: "react", configOverrides: { model: "extractive" } };
    const { steps, result } = await readStream(mesh.agent.streamQuery(request));
    expect(steps.map(({ name }) => name)).toEqual(["rewrite", "search", "quote"]);
    expect(result?.response).toContain("made of brass");
    expect(double.requests).toHaveLength(0);
  });
});
