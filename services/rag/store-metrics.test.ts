import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { openPglite } from "../../runtime/sql/pglite.js";
import { ManualClock } from "../../tests/manual-clock.js";
import { measuredStore } from "./store-metrics.js";
import { openSqlStore } from "./store/sql-store.js";

test("shows the jobs that wait and for how long, and nothing of them when the store is gone", async () => {
  const clock = new ManualClock();
  const registry = new Registry();
  const db = await openPglite();
  const store = measuredStore(await openSqlStore(db), registry, clock);
  const value = async (name: string) => (await registry.getMetricsAsJSON()).find((metric) => metric.name === name)?.values;
  const collection = (await store.getCollection({ tenant: "local", id: "default" }))!;
  await store.createJob({ id: "job", collection, metadata: {}, readers: [] }, new Date(clock.now()), new Date(clock.now() + 60_000));
  expect(await value("rag_jobs_queued")).toMatchObject([{ value: 0 }]);
  await store.queueJob("job", "", new Date(0));
  await clock.advance(90_000);
  expect(await value("rag_jobs_queued")).toMatchObject([{ value: 1 }]);
  expect(await value("rag_oldest_queued_job_seconds")).toMatchObject([{ value: 90 }]);

  const now = new Date(clock.now());
  const claimed = (await store.claimJob("worker", now, new Date(clock.now() + 30_000)))!;
  expect(await value("rag_jobs_running")).toMatchObject([{ value: 1 }]);
  const failure = { documentId: "a", reason: "INTERNAL", message: "" };
  await store.commitBatch(claimed.lease, { documents: [], metadataChanges: [], skipped: [0], failed: [{ ordinal: 1, failure }] }, now);
  await store.finishJob(claimed.lease, "FAILED", now);
  expect(await value("rag_documents_total")).toMatchObject([
    { labels: { outcome: "indexed" }, value: 0 },
    { labels: { outcome: "unchanged" }, value: 1 },
    { labels: { outcome: "failed" }, value: 1 },
  ]);
  expect(await value("rag_jobs_finished_total")).toMatchObject([{ value: 0 }, { labels: { state: "FAILED" }, value: 1 }]);

  await db.close();
  expect(await value("rag_jobs_queued")).toEqual([]);
  expect(await value("rag_jobs_finished_total")).toHaveLength(2);
});
