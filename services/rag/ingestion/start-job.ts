import { randomUUID } from "node:crypto";
import type { JsonObject } from "@bufbuild/protobuf";
import type { InlineDocument } from "../../../gen/ragents/rag/v1/rag_pb.js";
import type { UploadDocumentsRequest, UploadHeader } from "../../../gen/ragents/rag/v1/rag_service_pb.js";
import type { Clock } from "../../../runtime/clock.js";
import { invalidField } from "../../../runtime/errors.js";
import { duplicateDocument } from "../errors.js";
import { type CollectionRecord, type JobRecord, type JobStore, LeaseLostError, type NewJob } from "../store/store.js";
import { type AllowedFolder, resolveAllowed } from "./allowed-folders.js";
import { storableJson } from "./stored-json.js";
import { STAGING_LEASE_MS, Upload, uploadIncomplete } from "./upload.js";

/** A repeated call with the same key answers the first one's job for a day. */
const IDEMPOTENCY_MS = 24 * 3_600_000;

export interface StartJobDependencies {
  readonly store: JobStore;
  readonly clock: Clock;
  readonly folders: readonly AllowedFolder[];
  /** Called when a job waits for a worker. */
  readonly onQueued: () => void;
}

/** Turns what callers send into jobs that wait for a worker. */
export class JobStarter {
  readonly #deps: StartJobDependencies;

  constructor(deps: StartJobDependencies) {
    this.#deps = deps;
  }

  /** A job over documents that the request holds. Throws INVALID_ARGUMENT when two of them share an id. */
  async ingestInline(collection: CollectionRecord, documents: readonly InlineDocument[], metadata: JsonObject, key: string): Promise<JobRecord> {
    const ids = new Set<string>();
    for (const [i, { id }] of documents.entries()) {
      if (ids.has(id)) throw duplicateDocument(`documents[${i}].id`, id);
      ids.add(id);
    }
    return this.#start({ collection, metadata, key }, async (upload) => {
      for (const { id: documentId, mimeType, metadata: own, text } of documents) {
        await upload.startFile({ documentId, mimeType, metadata: own });
        await upload.addBytes(Buffer.from(text));
      }
    });
  }

  /** A job over a file or folder of the server. Throws INVALID_ARGUMENT PATH_NOT_ALLOWED for one that it may not read. */
  async ingestPath(collection: CollectionRecord, path: string, metadata: JsonObject, key: string): Promise<JobRecord> {
    const allowed = await resolveAllowed(this.#deps.folders, path);
    return this.#start({ collection, metadata, key, path: allowed }, async () => {});
  }

  /** A job over files that the caller streams. A stream that breaks leaves nothing behind. */
  async ingestUpload(collection: CollectionRecord, header: UploadHeader, rest: AsyncIterable<UploadDocumentsRequest>, signal: AbortSignal): Promise<JobRecord> {
    return this.#start({ collection, metadata: header.metadata ?? {}, key: header.idempotencyKey }, async (upload) => {
      let whole = false;
      for await (const { part } of rest) {
        if (whole) throw invalidField("end", "comes once, as the last message");
        if (part.case === "file") await upload.startFile(part.value);
        else if (part.case === "data") await upload.addBytes(part.value);
        else if (part.case === "end") whole = true;
        else throw invalidField("header", "comes once, as the first message");
      }
      // A caller that went away ends its stream too.
      if (!whole || signal.aborted) throw uploadIncomplete();
    });
  }

  async #start(
    { collection, metadata, key, path }: { collection: CollectionRecord; metadata: JsonObject; key: string; path?: NewJob["path"] },
    fill: (upload: Upload) => Promise<void>,
  ): Promise<JobRecord> {
    const { store, clock, onQueued } = this.#deps;
    const reuseAfter = new Date(clock.now() - IDEMPOTENCY_MS);
    const earlier = key === "" ? undefined : await store.findJob(collection.uid, key, reuseAfter);
    if (earlier !== undefined) return earlier;
    const id = randomUUID();
    const now = clock.now();
    const job = { id, collection, metadata: storableJson(metadata), ...(path !== undefined && { path }) };
    await store.createJob(job, new Date(now), new Date(now + STAGING_LEASE_MS));
    try {
      const upload = new Upload(store, clock, id);
      await fill(upload);
      if ((await upload.end()) === 0 && path === undefined) throw invalidField("file", "an upload has at least one file");
      const queued = await store.queueJob(id, key, reuseAfter);
      onQueued();
      return queued;
    } catch (error) {
      await store.abandonJob(id);
      throw error instanceof LeaseLostError ? uploadIncomplete(error) : error;
    }
  }
}
