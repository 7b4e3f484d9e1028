import { expect, test } from "vitest";
import { createRagClient } from "../../clients/rag/index.js";
import { JobState } from "../../gen/ragents/rag/v1/rag_pb.js";
import { systemClock } from "../../runtime/clock.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import { openPglite } from "../../runtime/sql/pglite.js";
import { startRagService } from "./service.js";

test("replicas that serve leave the jobs to those that ingest", async () => {
  const sql = await openPglite();
  const start = (role: string) => {
    const metrics = createMetrics();
    const host = { logger: silentLogger, metrics, clock: systemClock };
    return startRagService({ RAGENTS_RAG_PORT: "0", RAGENTS_RAG_ROLE: role }, host, { sql }).then((service) => ({ service, metrics }));
  };
  const serving = await start("serve");
  const client = createRagClient({ address: serving.service.address });
  const { job } = await client.ingestDocuments({ collection: "default", documents: [{ id: "a", text: "The otter eats eels." }] });
  const queued = async () => (await serving.metrics.registry.getMetricsAsJSON()).find(({ name }) => name === "rag_jobs_queued")?.values[0]?.value;
  expect(await queued()).toBe(1);

  const ingesting = await start("ingest");
  let last = job;
  for await (const update of client.watchJob({ job: job!.id })) last = update.job;
  expect(last?.state).toBe(JobState.SUCCEEDED);
  expect(await queued()).toBe(0);
  const { hits } = await client.retrieve({ collection: "default", query: "otter" });
  expect(hits.map(({ documentId }) => documentId)).toEqual(["a"]);

  client.close();
  await ingesting.service.stop(1_000);
  await serving.service.stop(1_000);
  await sql.close();
});
