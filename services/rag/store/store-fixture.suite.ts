import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import { buildSegment } from "../index/segment.js";
import { withDefaults } from "../settings.js";
import type { ClaimedJob, CollectionRecord, JobBatch, NewDocument, RagStore } from "./store.js";

/** The time of the tests. */
const start = Date.UTC(2026, 0, 1);
export const at = (seconds: number) => new Date(start + seconds * 1000);
export const longAgo = new Date(0);
export const none: Omit<JobBatch, "documents"> = { metadataChanges: [], skipped: [], failed: [] };

/** What the suites of a store fill it with. */
export function storeFixture(storeOf: () => RagStore) {
  async function newCollection(): Promise<CollectionRecord> {
    const created = await storeOf().createCollection({ tenant: randomUUID(), id: "docs" }, withDefaults({}), at(0));
    return created!;
  }

  async function queueJob(collection: CollectionRecord, ids: readonly string[], { now = at(1), key = "" } = {}): Promise<string> {
    const id = randomUUID();
    await storeOf().createJob({ id, collection, metadata: {}, readers: [] }, now, new Date(now.getTime() + 60_000));
    const documents = ids.map((documentId, ordinal) => ({ ordinal, documentId, source: documentId, mimeType: "", metadata: {}, readers: [], sizeBytes: 0 }));
    const parts = ids.map((_, ordinal) => ({ ordinal, part: 0, bytes: Buffer.from("0123456789") }));
    const hashes = ids.map((documentId, ordinal) => ({ ordinal, contentHash: `hash of ${documentId}` }));
    await storeOf().stage(id, { documents, parts, hashes }, new Date(now.getTime() + 60_000));
    return (await storeOf().queueJob(id, key, longAgo)).id;
  }

  /** Takes jobs, of whatever collection, until it is that one's turn; the others are ended. */
  async function claim(jobId: string, { by = storeOf(), owner = "worker", now = at(10), until = at(40) } = {}): Promise<ClaimedJob> {
    for (;;) {
      const claimed = await by.claimJob(owner, now, until);
      if (claimed === undefined) expect.fail("there is no job to take");
      if (claimed.lease.jobId === jobId) return claimed;
      await by.finishJob(claimed.lease, "FAILED", now);
    }
  }

  async function newDocument(collection: CollectionRecord, ordinal: number, id: string, texts: readonly string[], more: Partial<NewDocument> = {}): Promise<NewDocument> {
    const firstChunkId = await storeOf().reserveChunkIds(collection.uid, texts.length);
    return {
      ordinal,
      id,
      source: id,
      title: `Title of ${id}`,
      mimeType: "text/plain",
      foundMetadata: {},
      givenMetadata: {},
      readers: [],
      contentHash: `hash of ${texts.join()}`,
      sizeBytes: 10,
      textBytes: texts.join("").length,
      chunks: texts.map((text, i) => ({ start: i * 10, end: i * 10 + text.length, text, headingPath: ["A", `B"${i}`] })),
      firstChunkId,
      vectors: Buffer.from(`vectors of ${id}`),
      ...more,
    };
  }

  function batchOf(documents: readonly NewDocument[]): JobBatch {
    const ids = documents.flatMap(({ firstChunkId, chunks }) => chunks.map((chunk, i) => ({ chunkId: firstChunkId + i, terms: chunk.text.split(" ") })));
    const runs = documents.map(({ firstChunkId, chunks }) => ({ first: firstChunkId, count: chunks.length }));
    return { ...none, documents, ...(ids.length > 0 && { segment: { level: 0, runs, bytes: buildSegment(ids) } }) };
  }

  /** Ingests documents by a job of their own. */
  async function ingest(collection: CollectionRecord, documents: Record<string, readonly string[]>): Promise<NewDocument[]> {
    const ids = Object.keys(documents);
    const { lease } = await claim(await queueJob(collection, ids));
    const made: NewDocument[] = [];
    for (const [ordinal, id] of ids.entries()) made.push(await newDocument(collection, ordinal, id, documents[id]!));
    await storeOf().commitBatch(lease, batchOf(made), at(11));
    await storeOf().finishJob(lease, "SUCCEEDED", at(12));
    return made;
  }

  return { newCollection, queueJob, claim, newDocument, batchOf, ingest };
}
