import { create } from "@bufbuild/protobuf";
import { type Duration, durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { type Contents, type Thread, type ThreadLease, ThreadLeaseSchema, ThreadSchema } from "../../gen/ragents/checkpoint/v1/checkpoint_pb.js";
import {
  type AcquireThreadLeaseRequest,
  type CheckpointService,
  type PutCheckpointRequest,
  type PutWritesRequest,
  type ReleaseThreadLeaseRequest,
  type StreamPutsRequest,
  type StreamPutsResponse,
  StreamPutsResponseSchema,
} from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { currentTenant } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { toStatus } from "../../runtime/grpc-status.js";
import { requireMeshService } from "../../runtime/identity/access.js";
import { inMessageSpan } from "../../runtime/tracing/tracer.js";
import { asCompleted } from "./as-completed.js";
import { sweepTimeOf } from "./cleaning.js";
import { checkpointNotFound, leaseLost, threadExists, threadLeased, threadNotFound } from "./errors.js";
import { listParts, readCheckpoint, readContents } from "./reading.js";
import { chooseDeletable } from "./retention.js";
import type { SegmentReader } from "./segment-reader.js";
import type { CheckpointStore, Lease, ThreadCopy, ThreadKey, ThreadSummary } from "./store.js";
import type { ThreadQuota } from "./thread-quota.js";
import { packContents, packData, packWrites, PutPlan, searchableJson } from "./writing.js";

/** Puts of one stream that are worked on at the same time. */
const MAX_PUTS_AT_ONCE = 64;
/** Codes that blame the put, and not the service. */
const REFUSALS = new Set([Code.InvalidArgument, Code.FailedPrecondition, Code.ResourceExhausted, Code.NotFound]);
/** Threads of a page when the request does not say. */
const DEFAULT_PAGE_SIZE = 50;

export function checkpointHandlers(deps: {
  store: CheckpointStore;
  segments: SegmentReader;
  quota: ThreadQuota;
  clock: Clock;
  /** Called after a checkpoint was stored; the thread has so many now. */
  onPut: (thread: ThreadKey, checkpointCount: number) => void;
  /** Ends the streams of puts, so that the server can drain. */
  stopping: AbortSignal;
}): ServiceImpl<typeof CheckpointService> {
  const { store, segments, quota, clock } = deps;
  const now = () => new Date(clock.now());
  const threadOf = (request: { threadId: string }): ThreadKey => ({ tenant: currentTenant(), threadId: request.threadId });

  async function putCheckpoint(request: PutCheckpointRequest): Promise<void> {
    const thread = threadOf(request);
    const plan = new PutPlan(request.contents);
    const checkpoint = {
      namespace: request.checkpointNs,
      checkpointId: request.checkpointId,
      parentId: request.parentCheckpointId || undefined,
      data: packData(request.data, request.metadata),
      metadata: searchableJson("metadata", request.metadata),
      needsParent: request.needsParent,
      channels: request.channels.map(({ channel, version, value, unchanged }) => ({
        channel,
        version,
        value: unchanged || value === undefined ? undefined : plan.pack(value),
        unchanged,
      })),
    };
    const batch = { checkpoint, writes: packWrites(request.taskWrites, plan) };
    const context = { fencingToken: request.fencingToken, now: now() };
    await quota.admit(thread);
    const { checkpointCount } = await plan.store((addition) => store.put(thread, batch, addition, context));
    segments.remember(thread, plan.added());
    deps.onPut(thread, checkpointCount);
  }

  async function putWrites(request: PutWritesRequest): Promise<void> {
    const thread = threadOf(request);
    const plan = new PutPlan(request.contents);
    const batch = { checkpoint: undefined, writes: packWrites(request.taskWrites, plan) };
    const context = { fencingToken: request.fencingToken, now: now() };
    await quota.admit(thread);
    await plan.store((addition) => store.put(thread, batch, addition, context));
    segments.remember(thread, plan.added());
  }

  async function releaseLease(request: ReleaseThreadLeaseRequest): Promise<void> {
    await store.releaseLease(threadOf(request), request.fencingToken);
  }

  /** A put of a stream. A fault of the service rejects, which ends the stream: it is seen, and logged, as one of a call is. */
  async function answerPut({ putId, put, ...origin }: StreamPutsRequest): Promise<StreamPutsResponse> {
    try {
      if (put.case === "checkpoint") await inMessageSpan("PutCheckpoint", origin, () => putCheckpoint(put.value));
      else if (put.case === "writes") await inMessageSpan("PutWrites", origin, () => putWrites(put.value));
      else if (put.case === "release") await inMessageSpan("ReleaseThreadLease", origin, () => releaseLease(put.value));
      return create(StreamPutsResponseSchema, { putId });
    } catch (error) {
      if (!(error instanceof ConnectError) || !REFUSALS.has(error.code)) throw error;
      return create(StreamPutsResponseSchema, { putId, error: toStatus(error) });
    }
  }

  /** The newest checkpoint for who has just got a thread's lease, which is given back when that cannot be read. */
  async function readAsHolder({ threadId, withoutContents }: AcquireThreadLeaseRequest, { token }: Lease) {
    const thread = threadOf({ threadId });
    const newest = { namespace: "", checkpointId: undefined, withoutContents };
    return readCheckpoint(deps, thread, newest, now()).catch(async (error: unknown) => {
      await store.releaseLease(thread, token);
      throw error;
    });
  }

  /** Why a copy was not made, for each; undefined for those that were. */
  async function copyThreads(copies: readonly ThreadCopy[]): Promise<(ConnectError | undefined)[]> {
    const tenant = currentTenant();
    for (const { target } of copies) await quota.admit({ tenant, threadId: target });
    const outcomes = await store.copyThreads(tenant, copies, now());
    return copies.map(({ source, target }, i) => {
      if (outcomes[i] === "copied") return undefined;
      return outcomes[i] === "no source" ? threadNotFound(source) : threadExists(target);
    });
  }

  return {
    async putCheckpoint(request) {
      await putCheckpoint(request);
      return {};
    },

    async putWrites(request) {
      await putWrites(request);
      return {};
    },

    streamPuts: (requests) => asCompleted(requests, { limit: MAX_PUTS_AT_ONCE, stop: deps.stopping }, answerPut),

    async putContents(request) {
      const time = now();
      const thread = threadOf(request);
      await quota.admit(thread);
      await store.putContents(thread, packContents(request.contents as Contents), sweepTimeOf(time), {
        fencingToken: request.fencingToken,
        now: time,
      });
      return {};
    },

    async getCheckpoint(request) {
      const place = {
        namespace: request.checkpointNs,
        checkpointId: request.checkpointId || undefined,
        withoutContents: request.withoutContents,
      };
      const found = await readCheckpoint(deps, threadOf(request), place, now());
      if (found === undefined) throw checkpointNotFound(request.threadId, request.checkpointId);
      return found;
    },

    async getContents(request) {
      return { contents: await readContents(deps, threadOf(request), request.hashes) };
    },

    async *listCheckpoints(request) {
      const query = {
        tenant: currentTenant(),
        threadId: request.threadId || undefined,
        namespace: request.checkpointNs,
        checkpointId: request.checkpointId || undefined,
        before: request.beforeCheckpointId || undefined,
        filter: request.filter.length === 0 ? undefined : searchableJson("filter", request.filter),
      };
      yield* listParts(deps, query, request.limit ?? Number.POSITIVE_INFINITY, now());
    },

    async getThread(request) {
      const thread = await store.thread(threadOf(request), now());
      if (thread === undefined) throw threadNotFound(request.threadId);
      return { thread: toThread(thread) };
    },

    async listThreads(request) {
      const size = request.pageSize || DEFAULT_PAGE_SIZE;
      const after = Buffer.from(request.pageToken, "base64url").toString();
      const threads = await store.threads(currentTenant(), request.prefix, after, size + 1, now());
      const page = threads.slice(0, size);
      const last = threads.length > size ? page.at(-1) : undefined;
      return {
        threads: page.map(toThread),
        nextPageToken: last === undefined ? "" : Buffer.from(last.threadId).toString("base64url"),
      };
    },

    async deleteThread(request) {
      const thread = threadOf(request);
      await store.deleteThread(thread);
      segments.forget(thread);
      quota.forget(thread);
      return {};
    },

    async copyThread({ sourceThreadId, targetThreadId }) {
      const [error] = await copyThreads([{ source: sourceThreadId, target: targetThreadId }]);
      if (error !== undefined) throw error;
      return {};
    },

    async batchCopyThread({ copies }) {
      const errors = await copyThreads(copies.map(({ sourceThreadId: source, targetThreadId: target }) => ({ source, target })));
      return { outcomes: errors.map((error) => (error === undefined ? {} : { error: toStatus(error) })) };
    },

    async pruneThread(request) {
      const deleted = await store.deleteCheckpoints(threadOf(request), (all) => chooseDeletable(all, request.keep));
      return { deletedCount: BigInt(deleted) };
    },

    async acquireThreadLease(request) {
      const time = now();
      const { granted, lease } = await store.acquireLease(threadOf(request), request.owner, after(time, request.ttl), time, request.takeOver);
      if (!granted) throw threadLeased(request.threadId, lease.expiresAt.getTime() - time.getTime());
      const found = request.withCheckpoint ? await readAsHolder(request, lease) : undefined;
      return { lease: toLease(request.threadId, lease), ...found };
    },

    async renewThreadLease(request) {
      const lease = await store.renewLease(threadOf(request), request.fencingToken, after(now(), request.ttl));
      if (lease === undefined) throw leaseLost(request.threadId);
      return { lease: toLease(request.threadId, lease) };
    },

    async releaseThreadLease(request) {
      await releaseLease(request);
      return {};
    },

    async listExpiredLeases({ ownerPrefix, pageSize }) {
      requireMeshService("Only services of the mesh and its operator may list leases of all tenants.");
      const expired = await store.expiredLeases(ownerPrefix, now(), pageSize === 0 ? DEFAULT_PAGE_SIZE : pageSize);
      return { leases: expired.map(({ tenant, threadId, lease }) => ({ tenant, lease: toLease(threadId, lease) })) };
    },

    async getStats() {
      const stats = await store.stats(currentTenant());
      return {
        threadCount: BigInt(stats.threads),
        checkpointCount: BigInt(stats.checkpoints),
        storedBytes: BigInt(stats.storedBytes),
        oldestUpdateTime: stats.oldestUpdate && timestampFromDate(stats.oldestUpdate),
      };
    },
  };
}

function after(now: Date, ttl: Duration | undefined): Date {
  return new Date(now.getTime() + (ttl === undefined ? 0 : durationMs(ttl)));
}

function toThread(thread: ThreadSummary): Thread {
  return create(ThreadSchema, {
    threadId: thread.threadId,
    createTime: timestampFromDate(thread.createdAt),
    updateTime: timestampFromDate(thread.updatedAt),
    expireTime: thread.expiresAt && timestampFromDate(thread.expiresAt),
    checkpointCount: BigInt(thread.checkpointCount),
    storedBytes: BigInt(thread.storedBytes),
    lease: thread.lease && toLease(thread.threadId, thread.lease),
  });
}

function toLease(threadId: string, lease: Lease): ThreadLease {
  return create(ThreadLeaseSchema, {
    threadId,
    owner: lease.owner,
    fencingToken: lease.token,
    expireTime: timestampFromDate(lease.expiresAt),
  });
}
