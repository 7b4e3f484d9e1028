import { randomUUID } from "node:crypto";
import type { JsonObject } from "@bufbuild/protobuf";
import type { InlineDocument } from "../../../gen/ragents/rag/v1/rag_pb.js";
import type { UploadDocumentsRequest } from "../../../gen/ragents/rag/v1/rag_service_pb.js";
import type { Clock } from "../../../runtime/clock.js";
import { currentTenant, LOCAL_TENANT } from "../../../runtime/call-context.js";
import { invalidField } from "../../../runtime/errors.js";
import { duplicateDocument } from "../errors.js";
import type { PageFetcher } from "../fetching/page-fetcher.js";
import { type CollectionRecord, type CollectionStore, type JobRecord, type JobStore, LeaseLostError, type NewJob } from "../store/store.js";
import { type AllowedFolder, folderPrefix, resolveAllowed } from "./allowed-folders.js";
import { storableJson } from "../store/stored-json.js";
import { pageId } from "./page-id.js";
import { requireQuota, type TenantLimits } from "./tenant-quota.js";
import { STAGING_LEASE_MS, Upload, uploadIncomplete } from "./upload.js";

/** A repeated call with the same key answers the first one's job for a day. */
export const IDEMPOTENCY_MS = 24 * 3_600_000;

export interface StartJobDependencies {
  readonly store: JobStore & Pick<CollectionStore, "tenantUsage">;
  readonly clock: Clock;
  readonly folders: readonly AllowedFolder[];
  /** The tenants that may name paths in them. Default: the local one. */
  readonly pathTenants?: readonly string[];
  /** Tells which pages may be fetched. Default: none may. */
  readonly pages?: Pick<PageFetcher, "refusal"> | undefined;
  /** What a tenant may have. Default: no limits. */
  readonly tenantLimits?: TenantLimits;
  /** Called when a job waits for a worker. */
  readonly onQueued: () => void;
}

/** What every job is told, wherever its documents come from. */
export interface JobRequest {
  readonly collection: CollectionRecord;
  readonly metadata: JsonObject;
  readonly readers: readonly string[];
  /** Empty for none. */
  readonly idempotencyKey: string;
}

/** Turns what callers send into jobs that wait for a worker. */
export class JobStarter {
  readonly #deps: StartJobDependencies;

  constructor(deps: StartJobDependencies) {
    this.#deps = deps;
  }

  /** A job over documents that the request holds. Throws INVALID_ARGUMENT when two of them share an id. */
  async ingestInline(request: JobRequest, documents: readonly InlineDocument[]): Promise<JobRecord> {
    const ids = new Set<string>();
    for (const [i, { id }] of documents.entries()) {
      if (ids.has(id)) throw duplicateDocument(`documents[${i}].id`, id);
      ids.add(id);
    }
    return this.#start(request, {}, async (upload) => {
      for (const { id: documentId, mimeType, metadata, readers, text } of documents) {
        await upload.startFile({ documentId, mimeType, readers, ...(metadata && { metadata }) });
        await upload.addBytes(Buffer.from(text));
      }
    });
  }

  /**
   * A job over a file or folder of the server; with `sync` documents below a folder go whose files are there no more. Throws
   * INVALID_ARGUMENT PATH_NOT_ALLOWED for one that the caller's tenant may not read.
   */
  async ingestPath(request: JobRequest, given: string, sync: boolean): Promise<JobRecord> {
    // The folders are the server's, not a tenant's: otherwise every tenant could read what another one put there.
    const { folders: all, pathTenants = [LOCAL_TENANT] } = this.#deps;
    const folders = pathTenants.includes(currentTenant()) ? all : [];
    const path = await resolveAllowed(folders, given);
    const syncPrefix = sync ? await folderPrefix(path) : undefined;
    return this.#start(request, { path, syncPrefix }, async () => {});
  }

  /** A job over pages that it fetches. Throws INVALID_ARGUMENT URL_NOT_ALLOWED for one that the server does not fetch. */
  async ingestUrls(request: JobRequest, urls: readonly string[]): Promise<JobRecord> {
    const ids = urls.map((url, i) => pageId(url, `urls[${i}]`, this.#deps.pages));
    const twice = ids.findIndex((id, i) => ids.indexOf(id) !== i);
    if (twice >= 0) throw duplicateDocument(`urls[${twice}]`, ids[twice]!);
    return this.#start(request, {}, (upload) =>
      upload.addReferences(ids.map((url) => ({ documentId: url, source: url, url, mimeType: "", metadata: {}, readers: [], sizeBytes: 0 }))),
    );
  }

  /** A job over files that the caller streams. A stream that breaks leaves nothing behind. */
  async ingestUpload(request: JobRequest, syncPrefix: string, files: AsyncIterable<UploadDocumentsRequest>, signal: AbortSignal): Promise<JobRecord> {
    return this.#start(request, { syncPrefix: syncPrefix || undefined }, async (upload) => {
      let whole = false;
      for await (const { part } of files) {
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
    { collection, metadata, readers, idempotencyKey }: JobRequest,
    source: Pick<NewJob, "path" | "syncPrefix">,
    fill: (upload: Upload) => Promise<void>,
  ): Promise<JobRecord> {
    const { store, clock, onQueued } = this.#deps;
    const reuseAfter = new Date(clock.now() - IDEMPOTENCY_MS);
    const earlier = idempotencyKey === "" ? undefined : await store.findJob(collection.uid, idempotencyKey, reuseAfter);
    if (earlier !== undefined) return earlier;
    await requireQuota(store, collection.tenant, this.#deps.tenantLimits ?? {});
    const id = randomUUID();
    const now = clock.now();
    await store.createJob({ id, collection, metadata: storableJson(metadata), readers, ...source }, new Date(now), new Date(now + STAGING_LEASE_MS));
    try {
      const upload = new Upload(store, clock, id);
      await fill(upload);
      if ((await upload.end()) === 0 && source.path === undefined) throw invalidField("file", "an upload has at least one file");
      const queued = await store.queueJob(id, idempotencyKey, reuseAfter);
      onQueued();
      return queued;
    } catch (error) {
      await store.abandonJob(id);
      throw error instanceof LeaseLostError ? uploadIncomplete(error) : error;
    }
  }
}
