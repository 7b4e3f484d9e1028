import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JsonObject } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { failureOf } from "../failure-of.js";
import { loadAgents } from "../../services/agent/agents/load-agents.js";
import { connectMcpTools } from "../../services/agent/tools/mcp-tools.js";
import { type OpenAiDouble, type ScriptedReply, startOpenAiDouble } from "../servers/openai-double.js";
import { type AgentMesh, startAgentMesh } from "./agent-mesh.js";
import { readStream } from "./stream-reader.js";

const SERVER = { command: process.execPath, args: [join(import.meta.dirname, "mcp-server.mjs")] };
const GRAPH = join(import.meta.dirname, "graphs", "inspector.mjs");

let folder: string;
let mesh: AgentMesh;
let double: OpenAiDouble;

const file = async (content: unknown) => {
  const path = join(folder, `${Math.random()}.json`);
  await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ragents-extensions-"));
  double = await startOpenAiDouble();
  mesh = await startAgentMesh({
    OPENAI_BASE_URL: double.baseUrl,
    OPENAI_MODEL: "llama-3",
    RAGENTS_LLM_RETRIES: "0",
    RAGENTS_AGENT_GRAPHS: GRAPH,
    RAGENTS_AGENT_MCP: await file({ mcpServers: { plant: { ...SERVER, needs_approval: ["open_valve"] } } }),
  });
  await mesh.ingest({ "pump.md": "# Pump P-7\n\nThe pump P-7 stops by itself when the pressure is above 3 bar." });
}, 60_000);
beforeEach(() => {
  double.requests.length = 0;
});
afterAll(async () => {
  await mesh.stop();
  await double.close();
  await rm(folder, { recursive: true });
});

const inTurn = (...replies: ScriptedReply[]) => {
  double.script = (_, count) => replies[count - 1] ?? { status: 500 };
};
const call = (name: string, args: object) => ({ toolCalls: [{ name, arguments: args }] });

describe("the tools of an MCP server", () => {
  test("are offered with their schemas, called, and their failures told", async () => {
    inTurn(call("plant__read_gauge", { gauge: "G-1" }), call("plant__read_gauge", { gauge: "broken" }), call("plant__read_gauge", {}), { text: "4.2 bar." });
    const { toolResults, result } = await readStream(mesh.agent.streamQuery({ query: "What does G-1 show?", agentType: "react" }));
    const offered = double.requests[0]?.tools?.map((tool) => tool.function) ?? [];
    expect(offered.map(({ name }) => name)).toEqual(["search_knowledge_base", "plant__read_gauge", "plant__exit", "plant__open_valve"]);
    expect(offered[1]?.parameters).toMatchObject({ type: "object", properties: { gauge: { type: "string" } }, required: ["gauge"] });
    expect(toolResults.map(({ failed }) => failed)).toEqual([false, true, true]);
    expect(toolResults[0]?.summary).toContain("G-1 shows 4.2 bar");
    expect(toolResults[1]?.summary).toContain("the gauge is broken");
    expect(toolResults[2]?.summary).toContain("The arguments are wrong");
    expect(result?.response).toBe("4.2 bar.");
  });

  test("wait for approval where that is configured", async () => {
    inTurn(call("plant__open_valve", { valve: "V-2" }), { text: "Done." });
    const { interrupts } = await mesh.agent.query({ query: "Open V-2.", agentType: "react", threadId: "valve" });
    expect(interrupts[0]?.value).toMatchObject({ tool: "plant__open_valve", arguments: { valve: "V-2" } });
    const decisions = [{ interruptId: interrupts[0]?.id ?? "", approved: true }];
    expect((await mesh.agent.resumeRun({ thread: "valve", decisions })).response?.response).toBe("Done.");
    expect(double.requests[1]?.messages.at(-1)?.content).toContain("V-2 is open");
  });

  test("come back when the server has ended", async () => {
    inTurn(call("plant__exit", {}), { text: "It ended." });
    const { toolResults } = await readStream(mesh.agent.streamQuery({ query: "End it.", agentType: "react" }));
    expect(toolResults.map(({ failed }) => failed)).toEqual([true]);
    await expect
      .poll(
        async () => {
          double.requests.length = 0;
          inTurn(call("plant__read_gauge", { gauge: "G-1" }), { text: "ok" });
          const request = { query: "And G-1?", agentType: "react", configOverrides: { bypassCache: true } };
          return (await readStream(mesh.agent.streamQuery(request))).toolResults.map(({ failed }) => failed);
        },
        { timeout: 15_000 },
      )
      .toEqual([false]);
  }, 30_000);

  test.each([
    { content: "{", says: "cannot be read as JSON" },
    { content: { mcpServers: { plant: { comand: "x" } } }, says: "give command" },
    { content: { mcpServers: { "a b": SERVER } }, says: "name servers by letters" },
    { content: { mcpServers: { plant: { command: "/nowhere/no-program" } } }, says: "plant" },
  ])("are refused when the file says $content", async ({ content, says }) => {
    const error = await connectMcpTools(await file(content)).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ name: "ConfigError", message: expect.stringContaining("RAGENTS_AGENT_MCP") });
    expect((error as Error).message).toContain(says);
  }, 30_000);
});

describe("a registered agent", () => {
  test("is listed with its schema", async () => {
    const { agents } = await mesh.agent.listAgents({});
    const inspector = agents.find(({ agentType }) => agentType === "inspector");
    expect(inspector?.description).toBe("Quotes the first passage.");
    expect(inspector?.configSchema).toMatchObject({ properties: { greeting: { type: "string" } }, additionalProperties: false });
    expect(agents.find(({ agentType }) => agentType === "simple")?.configSchema).toBeUndefined();
  });

  test("answers, cites, is remembered and cached like the others", async () => {
    const request = { query: "When does the pump stop?", agentType: "inspector", configOverrides: { agentConfig: { greeting: "Look" } } };
    const { text, citations, steps, result } = await readStream(mesh.agent.streamQuery(request));
    expect(text).toBe("Look: The pump P-7 stops by itself when the pressure is above 3 bar. [1]");
    expect([text, citations.map(({ documentId }) => documentId)]).toEqual([result?.response, ["pump.md"]]);
    expect(steps.map(({ name }) => name)).toEqual(["read", "agent", "answer"]);
    expect((await mesh.agent.query(request)).metadata?.cached).toBe(true);
    const other = { ...request, configOverrides: { agentConfig: { greeting: "See" } } };
    expect((await mesh.agent.query(other)).response).toMatch(/^See: /);
    const next = await mesh.agent.query({ query: "And then?", agentType: "inspector", threadId: result?.threadId ?? "" });
    expect(next.response).toMatch(/^Found: /);
    const { messages } = await mesh.agent.listThreadMessages({ thread: next.threadId });
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "user", "assistant"]);
  });

  test.each<{ agentType: string; agentConfig: JsonObject }>([
    { agentType: "inspector", agentConfig: { greeting: 7 } },
    { agentType: "inspector", agentConfig: { greting: "x" } },
    { agentType: "simple", agentConfig: {} },
  ])("refuses settings that it does not understand: $agentConfig to $agentType", async ({ agentType, agentConfig }) => {
    const error = await failureOf(mesh.agent.query({ query: "When?", agentType, configOverrides: { agentConfig } }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.message).toContain("config_overrides.agent_config");
  });

  test.each([
    { text: "export const x = 1;", says: "give a default export" },
    { text: 'export default { type: "Bad Name", description: "x", graph() {} }', says: "give a lower-case letter" },
    { text: "export default {", says: "RAGENTS_AGENT_GRAPHS" },
  ])("is refused when its file says $text", async ({ text, says }) => {
    const path = join(folder, `${Math.random()}.mjs`);
    await writeFile(path, text);
    await expect(loadAgents([path], [])).rejects.toMatchObject({ name: "ConfigError", message: expect.stringContaining(says) });
  });

  test("cannot have the name of another one", async () => {
    await expect(loadAgents([GRAPH, GRAPH], [])).rejects.toThrow("there is an agent inspector already");
  });
});

describe("versions that serve side by side", () => {
  const QUERY = { query: "When does the pump stop?" };
  const serving = async (weights: number[]) => {
    await writeFile(join(folder, "rhyme.txt"), "Answer from the passages, in rhymes.\n");
    const own = ["{}", "{ answer: rhyme.txt }"];
    const path = await file(`simple:\n${weights.map((weight, i) => `  - { weight: ${weight}, prompts: ${own[i]}, settings: { temperature: 0.${i + 1} } }\n`).join("")}`);
    return mesh.replica({ RAGENTS_AGENT_VERSIONS: path });
  };

  test("answer by their own prompts and settings, which the response and the registry name; a thread stays on its version", async () => {
    double.script = () => ({ text: "It stops above 3 bar [1]." });
    const [both, second] = [await serving([1, 1]), await serving([0, 1])];
    const { agents, models } = await both.listAgents({});
    const { version, versions = [] } = agents.find(({ agentType }) => agentType === "simple") ?? {};
    const [plain = "", rhymed = ""] = versions.map((one) => one.version);
    expect(version).toBe(plain);
    expect(versions[1]?.prompts.find((id) => id.startsWith("answer@"))).toMatch(/^answer@[0-9a-f]{8}$/);
    expect(versions[1]?.settings?.temperature).toBe(0.2);
    expect(models.map(({ name }) => name)).toEqual(["llama-3", "extractive"]);

    const seen = new Map<string, string>();
    for (let i = 0; seen.size < 2 && i < 40; i += 1) {
      const threadId = `versioned-${Math.random()}`;
      const { metadata } = await both.query({ ...QUERY, threadId, configOverrides: { bypassCache: true } });
      seen.set(metadata?.agentVersion ?? "", threadId);
      const { messages, temperature } = double.requests.at(-1) ?? {};
      expect([messages?.[0]?.content.includes("in rhymes"), temperature]).toEqual(metadata?.agentVersion === rhymed ? [true, 0.2] : [false, 0.1]);
    }
    expect(new Set(seen.keys())).toEqual(new Set([plain, rhymed]));

    const goneOn = await second.query({ query: "And when does the pump start?", threadId: seen.get(plain) ?? "" });
    expect(goneOn.metadata).toMatchObject({ agentVersion: plain, modelVersion: models[0]?.version });
    expect((await second.query({ ...QUERY, configOverrides: { bypassCache: true } })).metadata?.agentVersion).toBe(rhymed);
  });

  test("do not answer from each other's cache, and are refused when unknown, with the known ones", async () => {
    double.script = () => ({ text: "It stops above 3 bar [1]." });
    const both = await serving([1, 1]);
    const versions = (await both.listAgents({})).agents.find(({ agentType }) => agentType === "simple")?.versions.map((one) => one.version) ?? [];
    const ask = (version: string) => both.query({ query: "When does the pump stop by itself?", agentType: `simple@${version}` });
    const cached: unknown[] = [];
    for (const version of [...versions, ...versions]) {
      const { metadata } = await ask(version);
      expect(metadata?.agentVersion).toBe(version);
      cached.push(metadata?.cached);
    }
    expect(cached).toEqual([false, false, true, true]);
    expect(await failureOf(ask("00000000"))).toMatchObject({ code: Code.InvalidArgument, message: expect.stringContaining(versions.join(", ")) });
  });
});
