import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createRagClient, type RagClient } from "../../../clients/rag/index.js";
import type { RankingOptionsSchema } from "../../../gen/ragents/rag/v1/ranking_pb.js";
import { systemClock } from "../../../runtime/clock.js";
import { reasonOf } from "../../../runtime/errors.js";
import { silentLogger } from "../../../runtime/logger.js";
import { createMetrics } from "../../../runtime/metrics.js";
import type { RunningService } from "../../../runtime/service.js";
import { startRagService } from "../service.js";

const paragraphs = Array.from({ length: 8 }, (_, i) => `Part ${i} tells of valves. ${"The valve number is checked by hand every morning. ".repeat(8)}Mark ${i}.`);
const manual = paragraphs.join("\n\n");
const documents = [
  { id: "manual", text: manual },
  { id: "pump", text: "# Pump\n\nThe pump opens the valve at 3 bar." },
  { id: "garden", text: "Tomatoes need sun and water." },
];
const metrics = createMetrics();
const broken = createServer((_, response) => response.writeHead(503).end());
let service: RunningService;
let rag: RagClient;

beforeAll(async () => {
  await new Promise<void>((resolve) => broken.listen(0, "127.0.0.1", resolve));
  const env = {
    RAGENTS_RAG_PORT: "0",
    RAGENTS_RAG_URL: "memory:",
    RAGENTS_RERANK_URL: `http://127.0.0.1:${(broken.address() as AddressInfo).port}/rerank`,
    RAGENTS_RERANK_MODEL: "broken",
  };
  service = await startRagService(env, { logger: silentLogger, metrics, clock: systemClock });
  rag = createRagClient({ address: service.address });
  await rag.createCollection({ id: "c", settings: { chunkSize: 500, chunkOverlap: 50 } });
  const { job } = await rag.ingestDocuments({ collection: "c", documents });
  for await (const _ of rag.watchJob({ job: job!.id }));
});

afterAll(async () => {
  rag.close();
  await service.stop(1_000);
  broken.close();
});

const retrieve = (ranking: MessageInitShape<typeof RankingOptionsSchema>, topK = 4) =>
  rag.retrieve({ collection: "c", query: "At what pressure does the pump open the valve?", topK, ranking });

describe("ranking", () => {
  test("explains both arms when asked, and is silent when not", async () => {
    const { hits } = await retrieve({ explain: true });
    expect(hits[0]).toMatchObject({ documentId: "pump", explanation: { keywordRank: 1, fusedRank: 1 } });
    expect(hits.map((hit) => hit.explanation?.fusedScore)).toEqual(hits.map(({ score }) => score));
    expect(hits[0]!.explanation!.keywordScore).toBeGreaterThan(hits[1]!.explanation!.keywordScore);
    expect(hits[0]!.explanation!.semanticScore).toBeGreaterThan(0);
    expect((await retrieve({})).hits[0]!.explanation).toBeUndefined();
  });

  test("reranks by the built-in reranker", async () => {
    const { hits, reranker } = await retrieve({ rerank: "builtin", explain: true });
    expect(reranker).toBe("builtin");
    expect(hits[0]).toMatchObject({ documentId: "pump" });
    expect(hits.map(({ explanation }) => explanation?.rerankScore)).toEqual(hits.map(({ score }) => score));
  });

  test("a reranker that fails leaves the order as it was, and is counted", async () => {
    const { hits, reranker } = await retrieve({ rerank: "broken" });
    expect(reranker).toBe("");
    expect(hits.map(({ chunkId }) => chunkId)).toEqual((await retrieve({})).hits.map(({ chunkId }) => chunkId));
    expect(await metrics.registry.getSingleMetricAsString("rag_rerank_failures_total")).toContain('reranker="broken"} 1');
  });

  test("a document has no more passages than allowed", async () => {
    expect((await retrieve({})).hits.filter(({ documentId }) => documentId === "manual").length).toBeGreaterThan(1);
    expect((await retrieve({ maxPerDocument: 1 })).hits.map(({ documentId }) => documentId).sort()).toEqual(["garden", "manual", "pump"]);
  });

  test("a list may end at its largest drop", async () => {
    const { hits } = await retrieve({ autocut: true });
    expect(hits.length).toBeLessThan((await retrieve({})).hits.length);
    expect(hits[0]).toMatchObject({ documentId: "pump" });
  });

  test("passages come with their neighbours, as the document has them", async () => {
    const { hits } = await retrieve({ neighbours: 1 });
    const [alone] = (await retrieve({})).hits.filter(({ documentId }) => documentId === "manual");
    const expanded = hits.find(({ chunkId }) => chunkId === alone!.chunkId)!;
    expect(expanded.text.length).toBeGreaterThan(alone!.text.length);
    for (const { documentId, start, end, text } of hits) {
      if (documentId === "manual") expect(text).toBe(manual.slice(start, end));
    }
    const places = hits.filter(({ documentId }) => documentId === "manual").map(({ chunkId }) => Number(chunkId.split("#")[1])).sort((a, b) => a - b);
    for (const [i, place] of places.entries()) if (i > 0) expect(place - places[i - 1]!).toBeGreaterThan(1);
  });

  test("passages may be chosen to differ", async () => {
    const { hits } = await retrieve({ mmrLambda: 0.3 }, 3);
    expect(new Set(hits.map(({ documentId }) => documentId)).size).toBe(3);
  });

  test.each([
    { ranking: { rerank: "unknown" }, reason: "UNKNOWN_RERANKER" },
    { ranking: { mmrLambda: 1.5 }, reason: "INVALID_FIELD" },
    { ranking: { candidates: 0 }, reason: "INVALID_FIELD" },
    { ranking: { neighbours: 6 }, reason: "INVALID_FIELD" },
    { ranking: { maxPerDocument: -1 }, reason: "INVALID_FIELD" },
  ])("refuses $ranking: $reason", async ({ ranking, reason }) => {
    const error = await retrieve(ranking).catch((thrown: unknown) => thrown);
    expect(reasonOf(error)).toBe(reason);
  });
});
