import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { reasonOf } from "../../runtime/errors.js";
import { failureOf } from "../failure-of.js";
import type { OpenAiDouble, ReceivedRequest, ScriptedReply } from "../servers/openai-double.js";
import { type AgentMesh, startModelMesh } from "./agent-mesh.js";
import { readStream } from "./stream-reader.js";

const PUMP = "# Pump P-7\n\nThe pump P-7 moves water to the boiler. The pump P-7 stops when the pressure is above 3 bar.";
const VALVE = "# Valve V-2\n\nThe valve V-2 is made of brass.";

let mesh: AgentMesh;
let double: OpenAiDouble;
const agentType = "langgraph";

beforeAll(async () => {
  ({ mesh, double } = await startModelMesh({}, { texts: { "pump.md": PUMP, "valve.md": VALVE } }));
});
afterAll(() => mesh.stop());
beforeEach(() => {
  double.requests.length = 0;
});

/** Answers by what a request is for. */
function script(replies: { rewrite?: ScriptedReply; reason?: ScriptedReply; answer?: ScriptedReply }) {
  double.script = (request) => {
    if (system(request).startsWith("Rewrite")) return replies.rewrite ?? { status: 500 };
    if (system(request).startsWith("Prepare")) return replies.reason ?? { status: 500 };
    return replies.answer ?? { text: "So it is [1]." };
  };
}
const system = (request: ReceivedRequest | undefined) => request?.messages[0]?.content ?? "";
const ask = async (query: string, fields: object = {}) => readStream(mesh.agent.streamQuery({ query, agentType, ...fields }));
const names = (steps: { name: string }[]) => steps.map(({ name }) => name);

describe("the langgraph agent", () => {
  test("answers a simple question straight away", async () => {
    const { steps, result } = await ask("What is the valve V-2 made of?", { configOverrides: { model: "extractive" } });
    expect(names(steps)).toEqual(["process_input", "query_rewriting", "rag_retrieval", "generate_response"]);
    expect(result?.response).toContain("made of brass");
  });

  test("takes a question apart, and answers each part with the built-in model", async () => {
    const query = "When does the pump P-7 stop, and what is the valve V-2 made of?";
    const { steps, result, text } = await ask(query, { configOverrides: { model: "extractive" } });
    expect(names(steps)).toEqual(["process_input", "query_rewriting", "rag_retrieval", "reasoning", "generate_response"]);
    expect(steps[0]?.summary).toBe("Asks: When does the pump P-7 stop? what is the valve V-2 made of?");
    expect(text).toBe(result?.response);
    expect(text).toMatch(/above 3 bar[^]*\n\n[^]*made of brass/);
    expect(new Set(result?.metadata?.citations.map(({ documentId }) => documentId))).toEqual(new Set(["pump.md", "valve.md"]));
    expect(result?.metadata?.citations.map(({ index }) => `[${index}]`)).toEqual(text.match(/\[\d\]/g));
  });

  test("has a model reason about a complex question, and shows it the notes", async () => {
    script({ reason: { text: "Point 1: passage [1] says 3 bar." } });
    const { steps, result } = await ask("When does the pump P-7 stop and who made the valve V-2?");
    expect(names(steps)).toContain("reasoning");
    expect(double.requests.map((request) => system(request).split(" ")[0])).toEqual(["Prepare", "You"]);
    expect(system(double.requests[1])).toContain("<notes>\nPoint 1: passage [1] says 3 bar.\n</notes>");
    expect(result?.metadata?.usage?.inputTokens).toBe(200n);
  });

  test.each([
    { rewrite: "What is the valve V-2 made of?", understood: "What is the valve V-2 made of?" },
    { rewrite: "Which 500 rockets fly to Mars?", understood: "And what is it made of?" },
  ])("keeps a rewrite that can be trusted: $rewrite", async ({ rewrite, understood }) => {
    script({ rewrite: { text: rewrite } });
    const threadId = `langgraph:${rewrite.length}`;
    await ask("What is the valve V-2?", { threadId });
    const { steps } = await ask("And what is it made of?", { threadId });
    expect(steps.find(({ name }) => name === "query_rewriting")?.summary).toBe(`Understood as: ${understood}`);
  });

  test("finds a way around a rewrite and a reasoning that fail", async () => {
    script({});
    const threadId = "langgraph:around";
    await ask("What is the valve V-2?", { threadId });
    const { steps, result } = await ask("When does the pump stop and what is it made of?", { threadId });
    expect(names(steps)).toEqual([
      "process_input",
      "query_rewriting",
      "handle_error",
      "rag_retrieval",
      "reasoning",
      "handle_error",
      "generate_response",
    ]);
    expect(result?.response).toBe("So it is [1].");
  });

  test("ends with the error's own status when nothing can be retrieved", async () => {
    const lost = await mesh.replica({ RAGENTS_RAG_ADDRESS: "127.0.0.1:1" });
    const request = { query: "What is the valve V-2?", agentType, configOverrides: { bypassCache: true, model: "extractive" } };
    const error = await failureOf(lost.query(request));
    expect([error.code, reasonOf(error)]).toEqual([Code.Unavailable, "DEPENDENCY_UNAVAILABLE"]);
    const unknown = await failureOf(mesh.agent.query({ ...request, configOverrides: { bypassCache: true, collection: "nowhere" } }));
    expect([unknown.code, reasonOf(unknown)]).toEqual([Code.NotFound, "COLLECTION_NOT_FOUND"]);
  });
});
