import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { buildSegment } from "../index/segment.js";
import { type ChunkRun, type ClaimedJob, type CollectionRecord, LeaseLostError, ModelChangedError, type NewDocument, type RagStore } from "./store.js";
import { at, longAgo, none, storeFixture } from "./store-fixture.suite.js";

const OLD = "static-256";
const NEW = "new-model";

/** What every store promises of giving a collection another model. `open` opens handles on one database; each is a replica of its own. */
export function describeReembeddingStore(name: string, open: () => Promise<RagStore>): void {
  describe(name, () => {
    let store: RagStore;
    let other: RagStore;

    beforeAll(async () => {
      store = await open();
      other = await open();
    });

    const { newCollection, queueJob, claim, newDocument, batchOf, ingest } = storeFixture(() => store);
    const fresh = async (collection: CollectionRecord) => (await other.getCollection(collection))!;

    async function create(collection: CollectionRecord): Promise<string | undefined> {
      const id = randomUUID();
      return (await store.createJob({ id, collection, metadata: {}, readers: [], targetModel: NEW }, at(1), at(60))) ? id : undefined;
    }

    async function begin(collection: CollectionRecord): Promise<ClaimedJob> {
      const id = await create(collection);
      await store.queueJob(id!, "", longAgo);
      return claim(id!);
    }

    const vectorsOf = (run: ChunkRun) => ({ run, vectors: Buffer.from(`new ${run.first}`) });

    async function embedAll({ lease }: ClaimedJob): Promise<void> {
      for (const run of await store.unembeddedRuns(lease, NEW, -1, 100)) await store.addVectors(lease, NEW, [vectorsOf(run)]);
    }

    const rows = async ({ uid }: CollectionRecord, model: string) =>
      (await other.readVectors(uid, model, 0, 1_000_000)).map(({ firstChunk, count }) => ({ first: firstChunk, count }));

    test("chunks are embedded piece by piece and answer from the switch on, which moves the epoch once", async () => {
      const collection = await newCollection();
      const [a, b] = (await ingest(collection, { a: ["1", "2", "3"], b: ["4"] })) as [NewDocument, NewDocument];
      const claimed = await begin(collection);
      const { lease } = claimed;
      expect(claimed.job).toMatchObject({ targetModel: NEW, state: "RUNNING" });
      expect(await store.countEmbedded(lease, NEW)).toMatchObject({ chunks: 0, totalChunks: 4 });
      const runs = await store.unembeddedRuns(lease, NEW, -1, 100);
      expect(runs).toEqual([{ first: a.firstChunkId, count: 3 }, { first: b.firstChunkId, count: 1 }]);
      expect([...(await store.readTexts(collection.uid, runs))].map(([, text]) => text).sort()).toEqual(["1", "2", "3", "4"]);

      const half = { first: a.firstChunkId, count: 2 };
      expect(await store.addVectors(lease, NEW, [vectorsOf(half)])).toMatchObject({ chunks: 2 });
      // The same again, its answer lost.
      expect(await store.addVectors(lease, NEW, [vectorsOf(half)])).toMatchObject({ chunks: 2 });
      expect(await store.switchModel(lease, NEW, at(15))).toBeUndefined();
      expect(await fresh(collection)).toMatchObject({ epoch: 1, settings: { embeddingModel: OLD } });

      // Another worker goes on behind it; this one writes no more.
      const taken = await claim(lease.jobId, { by: other, owner: "other", now: at(41), until: at(90) });
      await expect(store.addVectors(lease, NEW, [vectorsOf({ first: b.firstChunkId, count: 1 })])).rejects.toThrow(LeaseLostError);
      expect(await other.unembeddedRuns(taken.lease, NEW, -1, 100)).toEqual([{ first: a.firstChunkId + 2, count: 1 }, { first: b.firstChunkId, count: 1 }]);
      expect(await other.unembeddedRuns(taken.lease, NEW, a.firstChunkId, 100)).toEqual([{ first: b.firstChunkId, count: 1 }]);
      await embedAll(taken);
      expect(await other.switchModel(taken.lease, NEW, at(50))).toMatchObject({ state: "SUCCEEDED", chunks: 4, totalChunks: 4, endTime: at(50) });
      expect(await fresh(collection)).toMatchObject({ epoch: 2, settings: { embeddingModel: NEW } });
      expect(await store.manifest(collection.uid)).toMatchObject({ epoch: 2, model: NEW });

      await store.removeUnusedVectors(at(50), 1);
      expect(await rows(collection, OLD)).toHaveLength(2);
      for (const left of [1, 0, 0]) {
        await store.removeUnusedVectors(at(51), 1);
        expect(await rows(collection, OLD)).toHaveLength(left);
      }
      expect(await rows(collection, NEW)).toEqual([half, { first: a.firstChunkId + 2, count: 1 }, { first: b.firstChunkId, count: 1 }]);
      await store.deleteDocument(collection.uid, undefined, "a", at(52));
      expect(await rows(collection, NEW)).toEqual([{ first: b.firstChunkId, count: 1 }]);
    });

    test("what is ingested meanwhile is embedded too, what is deleted leaves nothing, what comes too late is refused", async () => {
      const collection = await newCollection();
      const [a] = (await ingest(collection, { a: ["1", "2"], b: ["3"] })) as [NewDocument, NewDocument];
      const ingestion = await claim(await queueJob(collection, ["late", "large"], { now: at(-5) }));
      const claimed = await begin(collection);
      const { lease } = claimed;
      const [ofA] = await store.unembeddedRuns(lease, NEW, -1, 1);
      await store.deleteDocument(collection.uid, undefined, "a", at(12));
      expect(await store.readTexts(collection.uid, [ofA!])).toEqual(new Map());
      await store.addVectors(lease, NEW, [vectorsOf(ofA!)]);
      expect(await rows(collection, NEW)).toEqual([]);

      await embedAll(claimed);
      const window = await newDocument(collection, 1, "large", ["5"]);
      const segment = { level: 0, runs: [{ first: window.firstChunkId, count: 1 }], bytes: buildSegment([{ chunkId: window.firstChunkId, terms: ["5"] }]) };
      const { firstChunkId, chunks, vectors } = window;
      await store.addWindow(ingestion.lease, { ordinal: 1, number: 0, hash: "h", bytes: 1, firstOrdinal: 0, documentKey: firstChunkId, firstChunkId, chunks, vectors, segment });
      // A window of a document that nobody sees yet counts: its document appears with the vectors that it has.
      expect(await store.switchModel(lease, NEW, at(15))).toBeUndefined();
      await embedAll(claimed);
      expect(await store.switchModel(lease, NEW, at(16))).toMatchObject({ state: "SUCCEEDED" });

      const batch = batchOf([await newDocument(collection, 0, "late", ["4"])]);
      await expect(store.commitBatch(ingestion.lease, batch, at(17))).rejects.toThrow(ModelChangedError);
      await store.releaseJob(ingestion.lease);
      const again = await claim(ingestion.lease.jobId, { now: at(18) });
      expect(again).toMatchObject({ lease: { model: NEW }, collection: { settings: { embeddingModel: NEW } }, fruitlessAttempts: 0 });
      await store.commitBatch(again.lease, { ...none, ...batch, windowed: [{ ...window, runs: [{ first: firstChunkId, count: 1 }] }] }, at(19));
      expect((await rows(collection, NEW)).map(({ first }) => first).sort()).toEqual([a.firstChunkId + 2, batch.documents[0]!.firstChunkId, firstChunkId].sort());
      await store.finishJob(again.lease, "SUCCEEDED", at(20));
    });

    test.each(["cancelled", "failed"])("one that is %s leaves the old model, and its vectors go before the next one begins", async (how) => {
      const collection = await newCollection();
      await ingest(collection, { a: ["1"], b: ["2"] });
      const claimed = await begin(collection);
      const { lease } = claimed;
      expect(await create(collection)).toBeUndefined();
      await embedAll(claimed);
      if (how === "cancelled") await other.cancelJob(collection.tenant, lease.jobId, at(20));
      else await store.finishJob(lease, "FAILED", at(20), { documentId: "", reason: "EMBEDDING_FAILED", message: "no" });
      await expect(store.switchModel(lease, NEW, at(21))).rejects.toThrow(LeaseLostError);
      expect(await fresh(collection)).toMatchObject({ epoch: 1, settings: { embeddingModel: OLD } });
      expect((await store.getJob(collection.tenant, lease.jobId))!.failures).toHaveLength(how === "failed" ? 1 : 0);

      const next = await begin(collection);
      expect(await rows(collection, NEW)).toHaveLength(2);
      for (const more of [true, true, false]) expect(await store.clearVectors(next.lease, NEW, 1)).toBe(more);
      expect(await store.countEmbedded(next.lease, NEW)).toMatchObject({ chunks: 0, totalChunks: 2 });
      await embedAll(next);
      // What the job makes now is not what is unused.
      expect(await store.clearVectors(next.lease, NEW, 1)).toBe(false);
      await store.removeUnusedVectors(at(1_000), 100);
      expect(await rows(collection, NEW)).toHaveLength(2);
      expect(await store.switchModel(next.lease, NEW, at(22))).toMatchObject({ state: "SUCCEEDED" });
    });

    test("one to the model that the collection has by now takes nothing away when it is cancelled", async () => {
      const collection = await newCollection();
      await ingest(collection, { a: ["1"] });
      const first = await begin(collection);
      await embedAll(first);
      await store.switchModel(first.lease, NEW, at(20));
      const second = await begin(collection);
      expect(second.lease.model).toBe(NEW);
      await store.cancelJob(collection.tenant, second.lease.jobId, at(21));
      for (let i = 0; i < 3; i += 1) await store.removeUnusedVectors(at(1_000), 100);
      expect(await rows(collection, NEW)).toHaveLength(1);
      expect(await rows(collection, OLD)).toEqual([]);
    });
  });
}
