import { createClient } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { createCacheClient } from "../../../clients/cache/index.js";
import { CacheService } from "../../../gen/ragents/cache/v1/cache_service_pb.js";
import { systemClock } from "../../../runtime/clock.js";
import { createGrpcTransport } from "../../../runtime/grpc-transport.js";
import { silentLogger } from "../../../runtime/logger.js";
import { createMetrics } from "../../../runtime/metrics.js";
import { startCacheService } from "../service.js";
import { OPPOSITES } from "./opposites.suite.js";

const scope = { collection: "docs", epoch: 1, model: "m", parameters: "{}" };
const text = (value: Uint8Array | undefined) => (value === undefined ? undefined : Buffer.from(value).toString());

async function start(env: NodeJS.ProcessEnv = { RAGENTS_CACHE_SIMILAR_ANSWERS: "true" }) {
  const service = await startCacheService(
    { RAGENTS_CACHE_PORT: "0", ...env },
    { logger: silentLogger, metrics: createMetrics(), clock: systemClock },
  );
  const client = createCacheClient({ address: service.address, patienceMs: 10_000 });
  const transport = createGrpcTransport({ address: service.address, services: [CacheService] });
  onTestFinished(async () => {
    client.close();
    transport.close();
    await service.stop(200);
  });
  return { client, admin: createClient(CacheService, transport) };
}

describe("similar answers", () => {
  test("are given to a question of the same meaning in the same scope, and counted", async () => {
    const { client, admin } = await start();
    await client.put("ANSWER", scope, "How do I reset my password?", Buffer.from("Like this."));
    expect(text(await client.get("ANSWER", scope, "how can I reset the password"))).toBe("Like this.");
    const other = { ...scope, epoch: 2 };
    expect(await client.get("ANSWER", other, "how can I reset the password")).toBeUndefined();
    expect(await client.get("ANSWER", { ...scope, parameters: "[]" }, "how can I reset the password")).toBeUndefined();
    expect(await admin.getStats({})).toMatchObject({ hits: 1n, similarHits: 1n, misses: 2n });
  });

  test("are given instead of a lease, and leases where there is none", async () => {
    const { client } = await start();
    const compute = async () => Buffer.from("computed");
    await client.put("ANSWER", scope, "What is the refund policy?", Buffer.from("Thirty days."));
    const similar = await client.getOrCompute("ANSWER", scope, "What's our refund policy?", compute);
    expect([text(similar.value), similar.cached]).toEqual(["Thirty days.", true]);
    const other = await client.getOrCompute("ANSWER", scope, "What is the privacy policy?", compute);
    expect([text(other.value), other.cached]).toEqual(["computed", false]);
    expect(text(await client.get("ANSWER", scope, "What's the privacy policy"))).toBe("computed");
  });

  test("are not kept by callers, who hear only of changes to the question that was answered", async () => {
    const { client } = await start();
    await client.put("ANSWER", scope, "What is the refund policy?", Buffer.from("old"));
    expect(text(await client.get("ANSWER", scope, "What's our refund policy?"))).toBe("old");
    await client.put("ANSWER", scope, "What is the refund policy?", Buffer.from("new"));
    expect(text(await client.get("ANSWER", scope, "What's our refund policy?"))).toBe("new");
  });

  test("go with the answer", async () => {
    const { client, admin } = await start();
    await client.put("ANSWER", scope, "What is the refund policy?", Buffer.from("v"));
    await admin.invalidate({ selector: { collection: "docs" } });
    expect(await client.get("ANSWER", scope, "What's our refund policy?")).toBeUndefined();
  });

  test("are for answers only, and off unless switched on", async () => {
    const { client } = await start();
    await client.put("RETRIEVAL", scope, "What is the refund policy?", Buffer.from("v"));
    expect(await client.get("RETRIEVAL", scope, "What's our refund policy?")).toBeUndefined();
    const off = await start({});
    await off.client.put("ANSWER", scope, "What is the refund policy?", Buffer.from("v"));
    expect(await off.client.get("ANSWER", scope, "What's our refund policy?")).toBeUndefined();
    expect(text(await off.client.get("ANSWER", scope, "What is the refund policy?"))).toBe("v");
  });

  test("are never those of an opposite question", async () => {
    const { client } = await start({ RAGENTS_CACHE_SIMILAR_ANSWERS: "true", RAGENTS_CACHE_MIN_SIMILARITY: "0" });
    const answered = new Set(OPPOSITES.map(([question]) => question));
    for (const question of answered) await client.put("ANSWER", scope, question, Buffer.from(question));
    const served: string[] = [];
    for (const [question, opposite] of OPPOSITES) {
      if (answered.has(opposite)) continue;
      const value = text(await client.get("ANSWER", scope, opposite));
      if (value !== undefined) served.push(`${opposite} <- ${value}`);
      expect(text(await client.get("ANSWER", scope, question))).toBe(question);
    }
    expect(served).toEqual([]);
  });
});
