import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { OpenAiDouble } from "../servers/openai-double.js";
import { type AgentMesh, startModelMesh } from "./agent-mesh.js";
import { readStream } from "./stream-reader.js";

let mesh: AgentMesh;
let double: OpenAiDouble;
const agentType = "logical";

beforeAll(async () => {
  ({ mesh, double } = await startModelMesh({}, { texts: {} }));
  const documents = [
    { id: "pump.md", text: "# Pump P-7\n\nThe pump P-7 stops when the pressure is above 3 bar.", metadata: { kind: "pump" } },
    { id: "valve.md", text: "# Valve V-2\n\nThe valve V-2 stops when the pressure is below 1 bar.", metadata: { kind: "valve" } },
  ];
  const { job } = await mesh.rag.ingestDocuments({ collection: "default", documents });
  for await (const update of mesh.rag.watchJob({ job: job?.id ?? "" })) if (update.job?.endTime !== undefined) break;
});
afterAll(() => mesh.stop());
beforeEach(() => {
  double.requests.length = 0;
});

const extractive = { model: "extractive" };

describe("the logical agent", () => {
  test("searches for what a question needs, and says what it made of it", async () => {
    const query = "Can you please tell me at which pressure it stops kind:valve?";
    const { steps, result } = await readStream(mesh.agent.streamQuery({ query, agentType, configOverrides: extractive }));
    expect(steps.map(({ name }) => name)).toEqual(["rewrite", "analyse", "search", "answer"]);
    expect(result?.response).toContain("below 1 bar");
    expect(result?.metadata?.citations.map(({ documentId }) => documentId)).toEqual(["valve.md"]);
    expect(result?.logicalAnalysis).toMatchObject({ domain: "general", optimizedQuery: "pressure stops" });
    expect(result?.logicalAnalysis?.clarification).toBeUndefined();
    expect(result?.logicalAnalysis?.tokenReduction).toBeGreaterThan(0.2);
    expect(result?.logicalAnalysis?.constraints.every(({ satisfied }) => satisfied)).toBe(true);
    const again = await mesh.agent.query({ query, agentType, configOverrides: extractive });
    expect(again.metadata?.cached).toBe(true);
    expect(again.logicalAnalysis).toEqual(result?.logicalAnalysis);
  });

  test("asks back what is unclear, and answers when it is told", async () => {
    const first = await mesh.agent.query({ query: "What changed from 2021 to 2019?", agentType, configOverrides: extractive });
    expect(first.response).toMatch(/^The question begins in 2021 and ends in 2019\. Which years do you mean\?\n- From 2019 to 2021\./);
    expect(first.logicalAnalysis?.clarification?.options).toContain("From 2019 to 2021.");
    expect(first.logicalAnalysis?.constraints).toContainEqual(
      expect.objectContaining({ name: "years_in_order", priority: "high", satisfied: false, expression: "IMPLIES(AND(EXISTS(from), EXISTS(to)), LE(from, to))" }),
    );
    const next = await mesh.agent.query({ query: "When does the pump P-7 stop?", agentType, threadId: first.threadId, configOverrides: extractive });
    expect(next.response).toContain("above 3 bar");
  });

  test("lets a model refine the search where the request allows it, and takes only what it can check", async () => {
    const query = "At which pressure does the pump P-7 stop?";
    double.script = ({ messages }) =>
      messages[0]?.content.startsWith("Analyse")
        ? { text: '```json\n{"query_text": "pressure pump P-7 stop", "mode": "semantic", "domain": "quantitative"}\n```' }
        : { text: "Above 3 bar [1]." };
    const refined = await mesh.agent.query({ query, agentType, enableLogicalLlm: true });
    expect(refined.logicalAnalysis).toMatchObject({ domain: "quantitative", optimizedQuery: "pressure pump P-7 stop" });
    expect(refined.metadata?.usage?.inputTokens).toBe(200n);

    double.script = ({ messages }) => (messages[0]?.content.startsWith("Analyse") ? { text: "no JSON" } : { text: "Above 3 bar [1]." });
    const rules = await mesh.agent.query({ query: `${query} `.repeat(2), agentType, enableLogicalLlm: true });
    expect(rules.logicalAnalysis?.domain).toBe("general");

    double.requests.length = 0;
    await mesh.agent.query({ query, agentType, configOverrides: { bypassCache: true } });
    expect(double.requests).toHaveLength(1);
  });
});
