import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { Segment, buildSegment } from "../index/segment.js";
import { mergeHere } from "../merging/merge-blobs.js";
import { withDefaults } from "../settings.js";
import { chunkIds, countChunks } from "./chunk-runs.js";
import { type CollectionRecord, LeaseLostError, type NewDocument, type NewWindow, type RagStore } from "./store.js";
import { at, longAgo, none, storeFixture } from "./store-fixture.suite.js";

/** What every store of the rag service promises. `open` opens handles on one empty database; each is a replica of its own. */
export function describeRagStore(name: string, open: () => Promise<RagStore>): void {
  describe(name, () => {
    let store: RagStore;
    let other: RagStore;

    beforeAll(async () => {
      store = await open();
      other = await open();
    });

    const { newCollection, queueJob, claim, newDocument, batchOf, ingest } = storeFixture(() => store);

    /** The texts that the index leads to. */
    async function visibleTexts(collection: CollectionRecord): Promise<string[]> {
      const { segments } = (await other.manifest(collection.uid))!;
      const tombstones = await other.readTombstones(collection.uid, segments.map(({ id }) => id));
      const ids: number[] = [];
      for (const { id, runs } of segments) {
        const bits = tombstones.get(id)!.bits;
        const segment = new Segment(new Uint8Array((await other.readSegment(collection.uid, id))!));
        expect([...segment.chunkIds]).toEqual([...chunkIds(runs)]);
        segment.chunkIds.forEach((chunkId, place) => {
          if (((bits[place >> 3] ?? 0) & (1 << (place & 7))) === 0) ids.push(chunkId);
        });
      }
      const chunks = await other.readChunks(collection.uid, undefined, ids);
      expect(chunks).toHaveLength(ids.length);
      return chunks.map(({ text }) => text).sort();
    }

    const fresh = (collection: CollectionRecord) => store.getCollection(collection).then((found) => found!);

    describe("collections", () => {
      test("are found by tenant and id, and taken once", async () => {
        const tenant = randomUUID();
        const settings = withDefaults({ chunkSize: 500, language: "none" });
        const created = await store.createCollection({ tenant, id: "a" }, settings, at(5));
        expect(created).toMatchObject({ tenant, id: "a", settings, epoch: 0, documentCount: 0, chunkCount: 0, textBytes: 0, createTime: at(5), updateTime: at(5) });
        expect(await other.getCollection({ tenant, id: "a" })).toEqual(created);
        expect(await other.createCollection({ tenant, id: "a" }, settings, at(6))).toBeUndefined();
        expect(await other.getCollection({ tenant: randomUUID(), id: "a" })).toBeUndefined();
      });

      test("of the name default are there for everyone, however many ask first", async () => {
        const tenant = randomUUID();
        const found = await Promise.all([store, other, store, other].map((one) => one.getCollection({ tenant, id: "default" })));
        expect(new Set(found.map((one) => one!.uid)).size).toBe(1);
        expect((await other.listCollections(randomUUID(), { limit: 10 })).map(({ id }) => id)).toEqual(["default"]);
      });

      test("add up to what their tenant has", async () => {
        const tenant = randomUUID();
        expect(await store.tenantUsage(tenant)).toEqual({ documents: 0, textBytes: 0 });
        const [a, b] = await Promise.all(["a", "b"].map((id) => store.createCollection({ tenant, id }, withDefaults({}), at(0))));
        await ingest(a!, { x: ["one"], y: ["two"] });
        await ingest(b!, { x: ["three"] });
        expect(await other.tenantUsage(tenant)).toEqual({ documents: 3, textBytes: 11 });
      });

      test("are listed by code points", async () => {
        const tenant = randomUUID();
        for (const id of ["b", "a-b", "a_b", "ab"]) await store.createCollection({ tenant, id }, withDefaults({}), at(0));
        expect((await store.listCollections(tenant, { limit: 9 })).map(({ id }) => id)).toEqual(["a-b", "a_b", "ab", "b", "default"]);
        expect((await store.listCollections(tenant, { after: "a_b", limit: 2 })).map(({ id }) => id)).toEqual(["ab", "b"]);
      });

      test("take all that is theirs with them when they are deleted, and their epoch is not used again", async () => {
        const collection = await newCollection();
        await ingest(collection, { a: ["one two"] });
        const { epoch } = await fresh(collection);
        const waiting = await queueJob(collection, ["b"]);
        expect(await store.deleteCollection(collection)).toBe(true);
        expect(await store.deleteCollection(collection)).toBe(false);
        expect(await store.getCollection(collection)).toBeUndefined();
        expect(await store.manifest(collection.uid)).toBeUndefined();
        expect(await store.getJob(collection.tenant, waiting)).toBeUndefined();
        const again = await store.createCollection(collection, withDefaults({}), at(20));
        expect(again!.epoch).toBeGreaterThan(epoch);
        expect(await store.listDocuments(again!.uid, undefined, { limit: 9 })).toEqual([]);
      });
    });

    describe("a batch", () => {
      test("makes documents, chunks and index visible to every replica, and counts them", async () => {
        const collection = await newCollection();
        const made = await ingest(collection, { a: ["one two", "three"], "b/ü": ["four"] });
        expect(await visibleTexts(collection)).toEqual(["four", "one two", "three"]);
        expect(await fresh(collection)).toMatchObject({ epoch: 1, documentCount: 2, chunkCount: 3, textBytes: 16, updateTime: at(11) });
        expect((await other.manifest(collection.uid))!.epoch).toBe(1);
        expect(await other.getDocument(collection.uid, undefined, "a")).toMatchObject({ id: "a", chunkCount: 2, createTime: at(11), title: "Title of a" });
        const [chunk] = await other.readChunks(collection.uid, undefined, [made[0]!.firstChunkId + 1]);
        expect(chunk).toMatchObject({ ordinal: 1, start: 10, end: 15, text: "three", headingPath: ["A", 'B"1'], document: { id: "a", source: "a", title: "Title of a" } });
        const rows = await other.readVectors(collection.uid, "static-256", 0, 1_000_000);
        expect(rows.map(({ firstChunk, count, bytes }) => [firstChunk, count, Buffer.from(bytes).toString()])).toEqual(
          made.map(({ firstChunkId, chunks, id }) => [firstChunkId, chunks.length, `vectors of ${id}`]),
        );
      });

      test("replaces documents of the same id, and nothing is left of them", async () => {
        const collection = await newCollection();
        await ingest(collection, { a: ["old one", "old two"], b: ["kept"] });
        await ingest(collection, { a: ["new"] });
        expect(await visibleTexts(collection)).toEqual(["kept", "new"]);
        expect(await fresh(collection)).toMatchObject({ epoch: 2, documentCount: 2, chunkCount: 2, textBytes: 7 });
        expect(await other.readVectors(collection.uid, "static-256", 0, 1_000_000)).toHaveLength(2);
        expect((await other.manifest(collection.uid))!.segments.map(({ tombstoneVersion, deadCount }) => [tombstoneVersion, deadCount])).toEqual([[1, 2], [0, 0]]);
      });

      test("drops a segment of which nothing is left", async () => {
        const collection = await newCollection();
        await ingest(collection, { a: ["old"] });
        await ingest(collection, { a: ["new"] });
        expect((await other.manifest(collection.uid))!.segments).toHaveLength(1);
      });

      test("of skipped and failed documents moves no epoch, and keeps the first hundred failures", async () => {
        const collection = await newCollection();
        const ids = Array.from({ length: 122 }, (_, i) => `d${i}`);
        const jobId = await queueJob(collection, ids);
        const { lease } = await claim(jobId);
        const failed = (from: number, to: number) =>
          ids.slice(from, to).map((documentId, i) => ({ ordinal: from + i, failure: { documentId, reason: "UNREADABLE_DOCUMENT", message: "no" } }));
        await store.commitBatch(lease, { ...none, documents: [], skipped: [120, 121], failed: failed(0, 70) }, at(11));
        const job = await store.commitBatch(lease, { ...none, documents: [], failed: failed(70, 120) }, at(11));
        expect(job).toMatchObject({ doneDocuments: 122, skippedDocuments: 2, failedDocuments: 120, doneBytes: 1220, totalBytes: 1220 });
        expect(job.failures.map(({ documentId }) => documentId)).toEqual(ids.slice(0, 100));
        expect((await fresh(collection)).epoch).toBe(0);
      });

      test("of metadata alone keeps chunks and what the document says of itself", async () => {
        const collection = await newCollection();
        const { lease } = await claim(await queueJob(collection, ["a"]));
        const document = await newDocument(collection, 0, "a", ["text"], { foundMetadata: { author: "Ada", kind: "found" }, givenMetadata: { kind: "given" } });
        await store.commitBatch(lease, batchOf([document]), at(11));
        expect((await store.getDocument(collection.uid, undefined, "a"))!.metadata).toEqual({ author: "Ada", kind: "given" });
        expect(await store.documentVersions(collection.uid, ["a", "b"])).toEqual(
          new Map([["a", { contentHash: document.contentHash, mimeType: "text/plain", givenMetadata: { kind: "given" }, readers: [] }]]),
        );
        const second = await claim(await queueJob(collection, ["a"]));
        await store.commitBatch(second.lease, { ...none, documents: [], metadataChanges: [{ ordinal: 0, id: "a", givenMetadata: { n: 1 }, readers: [] }] }, at(12));
        expect((await store.getDocument(collection.uid, undefined, "a"))!.metadata).toEqual({ author: "Ada", kind: "found", n: 1 });
        expect(await visibleTexts(collection)).toEqual(["text"]);
        expect(await fresh(collection)).toMatchObject({ epoch: 2, chunkCount: 1 });
      });

      test("that was committed already changes nothing", async () => {
        const collection = await newCollection();
        const { lease } = await claim(await queueJob(collection, ["a", "b"]));
        const batch = batchOf([await newDocument(collection, 0, "a", ["text"])]);
        const first = await store.commitBatch(lease, batch, at(11));
        expect(await store.commitBatch(lease, batch, at(12))).toEqual(first);
        expect(await fresh(collection)).toMatchObject({ epoch: 1, documentCount: 1 });
        expect(await visibleTexts(collection)).toEqual(["text"]);
      });

      test("is refused, all of it, to a worker that lost its job", async () => {
        const collection = await newCollection();
        const jobId = await queueJob(collection, ["a"]);
        const { lease } = await claim(jobId, { until: at(20) });
        const taken = await claim(jobId, { by: other, owner: "other", now: at(21), until: at(50) });
        expect(taken.lease.attempt).toBe(lease.attempt + 1);
        const batch = batchOf([await newDocument(collection, 0, "a", ["text"])]);
        await expect(store.commitBatch(lease, batch, at(22))).rejects.toThrow(LeaseLostError);
        await expect(store.renewLease(lease, { phase: "PARSING" }, at(60))).rejects.toThrow(LeaseLostError);
        expect(await fresh(collection)).toMatchObject({ epoch: 0, documentCount: 0 });
        await other.commitBatch(taken.lease, batch, at(23));
        expect(await visibleTexts(collection)).toEqual(["text"]);
      });

      test("is refused when the job was cancelled or the collection deleted", async () => {
        const collection = await newCollection();
        const cancelled = await claim(await queueJob(collection, ["a"]));
        const batch = batchOf([await newDocument(collection, 0, "a", ["text"])]);
        expect(await other.cancelJob(collection.tenant, cancelled.lease.jobId, at(12))).toMatchObject({ cancelled: true, job: { state: "CANCELLED", endTime: at(12) } });
        await expect(store.commitBatch(cancelled.lease, batch, at(13))).rejects.toThrow(LeaseLostError);
        const orphaned = await claim(await queueJob(collection, ["a"]));
        await other.deleteCollection(collection);
        await expect(store.commitBatch(orphaned.lease, batch, at(13))).rejects.toThrow(LeaseLostError);
      });
    });

    test("documents that a condition selects are deleted at once, those that the viewer may read", async () => {
      const collection = await newCollection();
      const { lease } = await claim(await queueJob(collection, ["a", "b", "c", "d"]));
      const made = [];
      for (const [ordinal, id] of ["a", "b", "c", "d"].entries()) {
        made.push(await newDocument(collection, ordinal, id, [id, `${id} more`], { givenMetadata: { even: ordinal % 2 === 0 }, readers: id === "c" ? ["user:ada"] : [] }));
      }
      await store.commitBatch(lease, batchOf(made), at(11));
      const even = { text: `metadata @> $1::jsonb`, parameters: ['{"even":true}'] };
      expect(await store.deleteDocuments(collection.uid, ["user:bob"], even, at(12))).toBe(1);
      expect(await visibleTexts(collection)).toEqual(["b", "b more", "c", "c more", "d", "d more"]);
      expect(await store.deleteDocuments(collection.uid, undefined, { text: "true", parameters: [] }, at(13))).toBe(3);
      expect(await fresh(collection)).toMatchObject({ epoch: 3, documentCount: 0, chunkCount: 0 });
      expect(await store.deleteDocuments(collection.uid, undefined, even, at(14))).toBe(0);
      expect(await fresh(collection)).toMatchObject({ epoch: 3, updateTime: at(13) });
      expect((await store.manifest(collection.uid))!.segments).toEqual([]);
    });

    test("a deleted document leaves nothing, and moves the epoch by one", async () => {
      const collection = await newCollection();
      await ingest(collection, { a: ["one", "two"], b: ["three"] });
      expect(await store.deleteDocument(collection.uid, undefined, "a", at(30))).toBe(true);
      expect(await store.deleteDocument(collection.uid, undefined, "a", at(30))).toBe(false);
      expect(await visibleTexts(collection)).toEqual(["three"]);
      expect(await fresh(collection)).toMatchObject({ epoch: 2, documentCount: 1, chunkCount: 1, textBytes: 5, updateTime: at(30) });
      expect(await store.readVectors(collection.uid, "static-256", 0, 1_000_000)).toHaveLength(1);
    });

    test("conditions on metadata name the chunks of the documents that meet them", async () => {
      const collection = await newCollection();
      const made = await ingest(collection, { a: ["one", "two"], b: ["three"], c: ["four"] });
      const runs = await store.allowedChunks(collection.uid, undefined, { text: "id = any($1::text[])", parameters: [["a", "c"]] });
      expect([...chunkIds(runs)]).toEqual([made[0]!.firstChunkId, made[0]!.firstChunkId + 1, made[2]!.firstChunkId]);
    });

    describe("documents that name their readers", () => {
      test("are seen by those alone, and by who sees everything", async () => {
        const collection = await newCollection();
        const { lease } = await claim(await queueJob(collection, ["all", "ada", "writers"]));
        const made = [
          await newDocument(collection, 0, "all", ["open"]),
          await newDocument(collection, 1, "ada", ["for ada"], { readers: ["user:ada"] }),
          await newDocument(collection, 2, "writers", ["for writers"], { readers: ["role:writer", "user:bob"] }),
        ];
        await store.commitBatch(lease, batchOf(made), at(11));
        expect((await fresh(collection)).restrictedCount).toBe(2);
        const ids = made.map(({ firstChunkId }) => firstChunkId);
        const everything = { text: "true", parameters: [] };
        for (const [viewer, seen] of [
          [undefined, ["ada", "all", "writers"]],
          [[], ["all"]],
          [["user:ada", "role:reader"], ["ada", "all"]],
          [["user:bob"], ["all", "writers"]],
          [["user:eve", "role:reader", "role:writer"], ["all", "writers"]],
        ] as const) {
          expect((await store.listDocuments(collection.uid, viewer, { limit: 9 })).map(({ id }) => id)).toEqual(seen);
          expect((await store.readChunks(collection.uid, viewer, ids)).map(({ document }) => document.id).sort()).toEqual(seen);
          expect(countChunks(await store.allowedChunks(collection.uid, viewer, everything))).toBe(seen.length);
          expect((await store.getDocument(collection.uid, viewer, "ada")) !== undefined).toBe((seen as readonly string[]).includes("ada"));
        }
        expect(await store.deleteDocument(collection.uid, ["user:eve"], "ada", at(12))).toBe(false);
        expect(await store.deleteDocument(collection.uid, ["user:ada"], "ada", at(12))).toBe(true);
        expect((await fresh(collection)).restrictedCount).toBe(1);
      });

      test("may change them without being read again", async () => {
        const collection = await newCollection();
        await ingest(collection, { a: ["text"] });
        for (const [readers, count] of [[["user:ada"], 1], [[], 0]] as const) {
          const { lease } = await claim(await queueJob(collection, ["a"]));
          await store.commitBatch(lease, { ...none, documents: [], metadataChanges: [{ ordinal: 0, id: "a", givenMetadata: {}, readers }] }, at(12));
          expect(await store.getDocument(collection.uid, undefined, "a")).toMatchObject({ readers });
          expect((await fresh(collection)).restrictedCount).toBe(count);
        }
      });
    });

    test("a job that is in step with its source removes what that has no more, and nothing else", async () => {
      const collection = await newCollection();
      await ingest(collection, { "docs/a": ["one"], "docs/b": ["two"], "docs/sub/c": ["three"], "docs/locked/d": ["four"], "docs2/e": ["five"], "doc": ["six"] });
      const id = randomUUID();
      await store.createJob({ id, collection, metadata: {}, readers: [], syncPrefix: "docs/" }, at(1), at(60));
      const documents = ["docs/a", "docs/locked/"].map((documentId, ordinal) => ({ ordinal, documentId, source: documentId, mimeType: "", metadata: {}, readers: [], sizeBytes: 0 }));
      await store.stage(id, { documents, parts: [], hashes: [] }, at(60));
      await store.queueJob(id, "", longAgo);
      const { lease, syncPrefix } = await claim(id);
      expect(syncPrefix).toBe("docs/");
      await store.commitBatch(lease, { ...none, documents: [], skipped: [0, 1] }, at(11));
      expect(await store.removeMissing(lease, 1, at(12))).toBe(1);
      expect(await store.removeMissing(lease, 9, at(12))).toBe(1);
      expect(await store.removeMissing(lease, 9, at(12))).toBe(0);
      expect((await store.listDocuments(collection.uid, undefined, { limit: 9 })).map(({ id: document }) => document)).toEqual(["doc", "docs/a", "docs/locked/d", "docs2/e"]);
      expect(await visibleTexts(collection)).toEqual(["five", "four", "one", "six"]);
      expect(await fresh(collection)).toMatchObject({ epoch: 3, documentCount: 4, chunkCount: 4 });
      expect(await store.finishJob(lease, "SUCCEEDED", at(13))).toMatchObject({ removedDocuments: 2 });
    });

    describe("an index that is read in pieces", () => {
      test("gives the bytes asked for, across the parts that they are stored in", async () => {
        const collection = await newCollection();
        const { lease } = await claim(await queueJob(collection, ["a"]));
        const bytes = new Uint8Array(5_000_000).map((_, i) => (i * 31) % 251);
        const document = await newDocument(collection, 0, "a", ["one"]);
        const segment = { level: 0, runs: [{ first: document.firstChunkId, count: 1 }], bytes };
        await store.commitBatch(lease, { ...none, documents: [document], segment }, at(11));
        const { id } = (await other.manifest(collection.uid))!.segments[0]!;
        const ranges = [[0, 32], [2_097_151, 2_097_153], [2_000_000, 4_500_000], [7, 7], [4_999_990, 5_000_000]] as const;
        const read = await other.readSegmentRanges(collection.uid, ranges.map(([from, to]) => ({ segment: id, start: from, end: to })));
        read.forEach((part, i) => expect(Buffer.compare(part!, bytes.subarray(...ranges[i]!))).toBe(0));
        expect(await other.readSegmentRanges(collection.uid, [{ segment: id + 1, start: 0, end: 9 }])).toEqual([undefined]);
        expect(Buffer.compare((await other.readSegment(collection.uid, id))!, bytes)).toBe(0);
      });

      test("gives vectors block by block, and those of single chunks", async () => {
        const collection = await newCollection();
        const made = await ingest(collection, { a: ["1", "2", "3"], b: ["4"], c: ["5", "6"], d: ["7", "8", "9", "10"] });
        const blocks: number[][] = [];
        for (let after = -1; ; ) {
          const rows = await other.readVectorBlock(collection.uid, "static-256", after, 4);
          if (rows.length === 0) break;
          blocks.push(rows.map(({ count }) => count));
          after = rows.at(-1)!.firstChunk;
        }
        expect(blocks).toEqual([[3, 1], [2, 4]]);
        const [a, , c] = made as [NewDocument, NewDocument, NewDocument];
        const rows = await other.readVectorsOf(collection.uid, "static-256", [a.firstChunkId + 2, c.firstChunkId, c.firstChunkId + 1, c.firstChunkId + 100, 0]);
        expect(rows.map(({ firstChunk }) => firstChunk)).toEqual([a.firstChunkId, c.firstChunkId]);
        expect(await other.readVectorsOf(collection.uid, "another-model", [a.firstChunkId])).toEqual([]);
      });
    });

    describe("windows of a large document", () => {
      async function newWindow(collection: CollectionRecord, number: number, texts: readonly string[], key?: number): Promise<NewWindow> {
        const { chunks, firstChunkId, vectors } = await newDocument(collection, 0, "large", texts);
        const segment = { level: 0, runs: [{ first: firstChunkId, count: texts.length }], bytes: buildSegment(texts.map((text, i) => ({ chunkId: firstChunkId + i, terms: [text] }))) };
        return { ordinal: 0, number, hash: `hash ${number}`, bytes: 4, firstOrdinal: number * 10, documentKey: key ?? firstChunkId, firstChunkId, chunks, vectors, segment };
      }

      test("are seen by nobody until the document is complete, then all at once", async () => {
        const collection = await newCollection();
        await ingest(collection, { large: ["old"] });
        const jobId = await queueJob(collection, ["large"]);
        const { lease } = await claim(jobId);
        const first = await newWindow(collection, 0, ["one", "two"]);
        const second = await newWindow(collection, 1, ["three"], first.documentKey);
        await store.addWindow(lease, first);
        await store.addWindow(lease, second);
        await store.addWindow(lease, second);
        expect(await visibleTexts(collection)).toEqual(["old"]);
        expect((await fresh(collection)).epoch).toBe(1);
        expect(await other.getJob(collection.tenant, jobId)).toMatchObject({ doneBytes: 8, doneDocuments: 0 });
        expect(await other.windows(jobId, 0)).toEqual([
          { number: 0, hash: "hash 0", run: { first: first.firstChunkId, count: 2 } },
          { number: 1, hash: "hash 1", run: { first: second.firstChunkId, count: 1 } },
        ]);
        const { chunks: _, firstChunkId: __, vectors: ___, ...head } = await newDocument(collection, 0, "large", ["x"]);
        const runs = [first, second].map(({ firstChunkId, chunks }) => ({ first: firstChunkId, count: chunks.length }));
        const job = await store.commitBatch(lease, { ...none, documents: [], windowed: [{ ...head, runs }] }, at(13));
        expect(job).toMatchObject({ doneBytes: 10, doneDocuments: 1, chunks: 3 });
        expect(await visibleTexts(collection)).toEqual(["one", "three", "two"]);
        expect(await store.getDocument(collection.uid, undefined, "large")).toMatchObject({ chunkCount: 3, createTime: at(11) });
        expect((await store.readChunks(collection.uid, undefined, [second.firstChunkId]))[0]).toMatchObject({ ordinal: 10, document: { id: "large" } });
        await store.deleteDocument(collection.uid, undefined, "large", at(14));
        expect(await visibleTexts(collection)).toEqual([]);
      });

      test.each(["dropped", "of a document that failed", "of a job that was cancelled"])("%s leave nothing", async (how) => {
        const collection = await newCollection();
        const jobId = await queueJob(collection, ["large"]);
        const { lease } = await claim(jobId);
        const window = await newWindow(collection, 0, ["one", "two"]);
        await store.addWindow(lease, window);
        if (how === "dropped") await store.dropWindows(lease, 0);
        else if (how === "of a job that was cancelled") await store.cancelJob(collection.tenant, jobId, at(12));
        else await store.commitBatch(lease, { ...none, documents: [], failed: [{ ordinal: 0, failure: { documentId: "large", reason: "X", message: "" } }] }, at(12));
        expect(await store.windows(jobId, 0)).toEqual([]);
        expect(await store.readVectors(collection.uid, "static-256", 0, 1_000_000)).toEqual([]);
        expect(await visibleTexts(collection)).toEqual([]);
        if (how === "dropped") expect(await store.getJob(collection.tenant, jobId)).toMatchObject({ doneBytes: 0 });
      });
    });

    describe("jobs", () => {
      test("go through their states and keep what was staged until they are done with it", async () => {
        const collection = await newCollection();
        const jobId = await queueJob(collection, ["a", "b"]);
        expect(await other.getJob(collection.tenant, jobId)).toMatchObject({ collection: "docs", state: "QUEUED", totalDocuments: 2, totalBytes: 20, createTime: at(1) });
        expect(await other.getJob(randomUUID(), jobId)).toBeUndefined();
        const { lease, enumerated, job } = await claim(jobId);
        expect(enumerated).toBe(true);
        expect(job).toMatchObject({ state: "RUNNING", startTime: at(10) });
        expect((await store.waitingDocuments(jobId, { limit: 9 })).map(({ documentId, sizeBytes, contentHash }) => [documentId, sizeBytes, contentHash])).toEqual([
          ["a", 10, "hash of a"],
          ["b", 10, "hash of b"],
        ]);
        expect(Buffer.from((await store.readPart(jobId, 1, 0))!).toString()).toBe("0123456789");
        expect(await store.readPart(jobId, 1, 1)).toBeUndefined();
        await store.commitBatch(lease, { ...none, documents: [], skipped: [0] }, at(11));
        expect((await store.waitingDocuments(jobId, { limit: 9 })).map(({ documentId }) => documentId)).toEqual(["b"]);
        expect(await store.readPart(jobId, 0, 0)).toBeUndefined();
        expect(await store.finishJob(lease, "SUCCEEDED", at(12))).toMatchObject({ state: "SUCCEEDED", endTime: at(12) });
        expect(await store.readPart(jobId, 1, 0)).toBeUndefined();
        expect(await store.cancelJob(collection.tenant, jobId, at(13))).toMatchObject({ cancelled: false, job: { state: "SUCCEEDED" } });
        expect(await store.cancelJob(collection.tenant, "none", at(13))).toBeUndefined();
      });

      test("of all tenants are counted while they wait and while they are worked on", async () => {
        const before = await store.jobBacklog();
        const jobId = await queueJob(await newCollection(), ["a"]);
        const waiting = await other.jobBacklog();
        expect(waiting).toMatchObject({ queued: before.queued + 1, running: before.running });
        expect(waiting.oldestQueued!.getTime()).toBeLessThanOrEqual(at(1).getTime());
        const { lease } = await claim(jobId);
        const working = await store.jobBacklog();
        expect(working.queued + working.running).toBeLessThanOrEqual(waiting.queued + waiting.running);
        expect(working.running).toBeGreaterThan(0);
        await store.finishJob(lease, "SUCCEEDED", at(12));
        expect((await store.jobBacklog()).running).toBe(working.running - 1);
      });

      test("that are being staged are seen by nobody and go when their time is over", async () => {
        const collection = await newCollection();
        const id = randomUUID();
        await store.createJob({ id, collection, metadata: {}, readers: [] }, at(1), at(60));
        expect(await store.getJob(collection.tenant, id)).toBeUndefined();
        expect(await store.listJobs(collection.tenant, undefined, { limit: 9 })).toEqual([]);
        expect(await store.cancelJob(collection.tenant, id, at(2))).toBeUndefined();
        await store.pruneJobs(at(59), longAgo);
        await store.stage(id, { documents: [], parts: [], hashes: [] }, at(70));
        await store.pruneJobs(at(71), longAgo);
        await expect(store.stage(id, { documents: [], parts: [], hashes: [] }, at(90))).rejects.toThrow(LeaseLostError);
        await expect(store.queueJob(id, "", longAgo)).rejects.toThrow(LeaseLostError);
      });

      test("of one idempotency key are one, until the key may be used again", async () => {
        const collection = await newCollection();
        const first = await queueJob(collection, ["a"], { key: "k" });
        expect(await queueJob(collection, ["a"], { key: "k" })).toBe(first);
        expect((await store.findJob(collection.uid, "k", longAgo))!.id).toBe(first);
        expect(await store.findJob(collection.uid, "k", at(1))).toBeUndefined();
        const second = randomUUID();
        await store.createJob({ id: second, collection, metadata: {}, readers: [] }, at(5), at(60));
        expect((await store.queueJob(second, "k", at(2))).id).toBe(second);
        expect(await queueJob(await newCollection(), ["a"], { key: "k" })).not.toBe(first);
      });

      test("are taken by one worker each, oldest first", async () => {
        const collection = await newCollection();
        const ids = [];
        for (let i = 0; i < 6; i += 1) ids.push(await queueJob(collection, ["a"], { now: at(-100 + i) }));
        const taken = await Promise.all(ids.map((_, i) => (i % 2 === 0 ? store : other).claimJob(`w${i}`, at(10), at(40))));
        expect(new Set(taken.map((one) => one!.lease.jobId))).toEqual(new Set(ids));
        expect(await store.claimJob("late", at(20), at(50))).not.toMatchObject({ job: { tenant: collection.tenant } });
      });

      test("that were given back are taken at once, postponed ones when it is time", async () => {
        const collection = await newCollection();
        const jobId = await queueJob(collection, ["a"], { now: at(-1000) });
        const first = await claim(jobId);
        await store.releaseJob(first.lease);
        const second = await claim(jobId, { now: at(11) });
        expect(second.fruitlessAttempts).toBe(0);
        await store.postponeJob(second.lease, at(30));
        expect((await store.claimJob("w", at(29), at(60)))?.lease.jobId).not.toBe(jobId);
        const third = await claim(jobId, { now: at(31), until: at(60) });
        expect(third.fruitlessAttempts).toBe(1);
        await store.commitBatch(third.lease, { ...none, documents: [], skipped: [0] }, at(32));
        expect((await claim(jobId, { now: at(61), until: at(90) })).fruitlessAttempts).toBe(0);
      });

      test("of a path list their files once", async () => {
        const collection = await newCollection();
        const id = randomUUID();
        const path = { root: "/srv", target: "/srv/docs", idPrefix: "" };
        await store.createJob({ id, collection, metadata: { a: 1 }, readers: [], path }, at(1), at(60));
        await store.queueJob(id, "", longAgo);
        const claimed = await claim(id);
        expect(claimed).toMatchObject({ path, enumerated: false, metadata: { a: 1 } });
        const documents = [0, 1].map((ordinal) => ({ ordinal, documentId: `d${ordinal}`, source: `d${ordinal}`, mimeType: "", metadata: {}, readers: [], sizeBytes: 7, file: `/srv/docs/d${ordinal}` }));
        await store.addJobDocuments(claimed.lease, documents, 3);
        expect(await store.getJob(collection.tenant, id)).toMatchObject({ totalDocuments: 2, totalBytes: 14, ignoredFiles: 3 });
        expect(await store.waitingDocuments(id, { after: 0, limit: 5 })).toEqual([documents[1]]);
        expect((await claim(id, { now: at(41), until: at(80) })).enumerated).toBe(true);
      });

      test("over pages keep where they are fetched from, and what their servers said of them", async () => {
        const collection = await newCollection();
        const jobId = randomUUID();
        await store.createJob({ id: jobId, collection, metadata: {}, readers: [] }, at(1), at(100));
        const page = { ordinal: 0, documentId: "https://a.test/", source: "", mimeType: "", metadata: {}, readers: [], sizeBytes: 0 };
        await store.stage(jobId, { documents: [{ ...page, url: "https://a.test/" }, { ...page, ordinal: 1, documentId: "b" }], parts: [], hashes: [] }, at(100));
        await store.queueJob(jobId, "", at(0));
        const { lease } = await claim(jobId);
        expect((await other.waitingDocuments(jobId, { limit: 10 })).map(({ url }) => url)).toEqual(["https://a.test/", undefined]);
        const version = { etag: 'W/"1"' };
        const documents = [await newDocument(collection, 0, page.documentId, ["one"], { page: version }), await newDocument(collection, 1, "b", ["two"])];
        await store.commitBatch(lease, batchOf(documents), at(11));
        const versions = await other.documentVersions(collection.uid, [page.documentId, "b"]);
        expect([page.documentId, "b"].map((id) => versions.get(id)!.page)).toEqual([version, undefined]);
      });

      test("are listed newest first, page by page", async () => {
        const collection = await newCollection();
        const ids = [];
        for (const second of [3, 1, 2, 2]) ids.push(await queueJob(collection, ["a"], { now: at(second) }));
        const first = await store.listJobs(collection.tenant, "docs", { limit: 2 });
        const last = first.at(-1)!;
        const rest = await store.listJobs(collection.tenant, undefined, { after: { createTime: last.createTime, id: last.id }, limit: 9 });
        expect([...first, ...rest].map(({ createTime }) => createTime)).toEqual([3, 2, 2, 1].map(at));
        expect(new Set([...first, ...rest].map(({ id }) => id))).toEqual(new Set(ids));
        expect(await store.listJobs(collection.tenant, "others", { limit: 9 })).toEqual([]);
      });

      test("that ended long ago are forgotten", async () => {
        const collection = await newCollection();
        const { lease } = await claim(await queueJob(collection, ["a"]));
        await store.finishJob(lease, "SUCCEEDED", at(12));
        await store.pruneJobs(at(13), at(12));
        expect(await store.getJob(collection.tenant, lease.jobId)).toBeDefined();
        await store.pruneJobs(at(13), at(12.001));
        expect(await store.getJob(collection.tenant, lease.jobId)).toBeUndefined();
      });
    });

    describe("a merge", () => {
      async function mergeInput(collection: CollectionRecord) {
        const { segments } = (await store.manifest(collection.uid))!;
        const tombstones = await store.readTombstones(collection.uid, segments.map(({ id }) => id));
        const inputs = [];
        for (const { id } of segments) inputs.push({ id, deleted: new Uint8Array(tombstones.get(id)!.bits), bytes: new Uint8Array((await store.readSegment(collection.uid, id))!) });
        return { inputs, output: { level: 1, ...mergeHere(inputs) } };
      }

      test("takes the place of its inputs, and leaves out what was deleted before and meanwhile", async () => {
        const collection = await newCollection();
        await ingest(collection, { a: ["one", "two"], b: ["three"] });
        await ingest(collection, { c: ["four"], d: ["five"] });
        await store.deleteDocument(collection.uid, undefined, "b", at(20));
        const merge = await mergeInput(collection);
        await store.deleteDocument(collection.uid, undefined, "d", at(21));
        expect(await store.commitMerge(collection.uid, merge)).toBe(true);
        const { segments, epoch } = (await other.manifest(collection.uid))!;
        expect(segments).toHaveLength(1);
        expect(segments[0]).toMatchObject({ level: 1, chunkCount: 4, deadCount: 1 });
        expect(countChunks(segments[0]!.runs)).toBe(4);
        expect(await visibleTexts(collection)).toEqual(["four", "one", "two"]);
        expect(epoch).toBe(4);
      });

      test("that comes second is refused", async () => {
        const collection = await newCollection();
        await ingest(collection, { a: ["one"] });
        await ingest(collection, { b: ["two"] });
        const merge = await mergeInput(collection);
        expect(await store.commitMerge(collection.uid, merge)).toBe(true);
        expect(await other.commitMerge(collection.uid, merge)).toBe(false);
        expect(await visibleTexts(collection)).toEqual(["one", "two"]);
      });
    });
  });
}
