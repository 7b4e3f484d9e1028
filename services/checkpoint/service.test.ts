import { Code, createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CheckpointService } from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { BadRequestSchema } from "../../gen/google/rpc/error_details_pb.js";
import { systemClock } from "../../runtime/clock.js";
import { reasonOf } from "../../runtime/errors.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import { failureOf } from "../../tests/failure-of.js";
import { startCheckpointService } from "./service.js";

const host = () => ({ logger: silentLogger, metrics: createMetrics(), clock: systemClock });

describe("the checkpoint service", () => {
  let service: Awaited<ReturnType<typeof startCheckpointService>>;
  let transport: ReturnType<typeof createGrpcTransport>;
  const call = (rpc: string, request: unknown) =>
    (createClient(CheckpointService, transport) as unknown as Record<string, (request: unknown) => Promise<unknown>>)[rpc]!(request);

  beforeAll(async () => {
    service = await startCheckpointService({ RAGENTS_CHECKPOINT_URL: "memory:", RAGENTS_CHECKPOINT_PORT: "0" }, host());
    transport = createGrpcTransport({ address: service.address, services: [CheckpointService], maxMessageBytes: 64 * 1024 * 1024 });
  });
  afterAll(async () => {
    transport.close();
    await service.stop(1_000);
  });

  const metadata = Buffer.from("{}");
  const put = (change: object) => ({ threadId: "t", checkpointId: "1", metadata, ...change });
  const value = { encoding: "json", tail: Buffer.from("1") };
  const channel = (change: object) => put({ channels: [{ channel: "c", version: "1", value, ...change }] });
  const writes = (change: object) => ({
    threadId: "t",
    taskWrites: [{ checkpointId: "1", taskId: "task", writes: [{ index: 0, channel: "c", value }], ...change }],
  });
  const lease = (change: object) => ({ threadId: "t", owner: "me", ttl: { seconds: 30n }, ...change });

  test.each([
    { what: "a put into no thread", rpc: "putCheckpoint", request: put({ threadId: "" }), field: "thread_id" },
    { what: "an oversized thread id", rpc: "putCheckpoint", request: put({ threadId: "x".repeat(10_000) }), field: "thread_id" },
    { what: "a put without a checkpoint id", rpc: "putCheckpoint", request: put({ checkpointId: "" }), field: "checkpoint_id" },
    { what: "oversized data", rpc: "putCheckpoint", request: put({ data: new Uint8Array(1_048_577) }), field: "data" },
    { what: "oversized metadata", rpc: "putCheckpoint", request: put({ metadata: Buffer.alloc(262_145, 0x20) }), field: "metadata" },
    { what: "metadata that is no JSON", rpc: "putCheckpoint", request: put({ metadata: Buffer.from("{") }), field: "metadata" },
    { what: "a channel without a name", rpc: "putCheckpoint", request: channel({ channel: "" }), field: "channels[0].channel" },
    { what: "too many channels", rpc: "putCheckpoint", request: put({ channels: Array.from({ length: 4_097 }, (_, i) => ({ channel: `c${i}`, version: "1", value })) }), field: "channels" },
    { what: "an oversized tail of a value", rpc: "putCheckpoint", request: channel({ value: { encoding: "json", tail: new Uint8Array(4_097) } }), field: "channels[0].value.tail" },
    { what: "half a hash", rpc: "putCheckpoint", request: channel({ value: { encoding: "json", segments: new Uint8Array(8) } }), field: "channels[0].value.segments" },
    { what: "a negative fencing token", rpc: "putCheckpoint", request: put({ fencingToken: -1n }), field: "fencing_token" },
    { what: "writes of a task without an id", rpc: "putWrites", request: writes({ taskId: "" }), field: "task_writes[0].task_id" },
    { what: "a write without a value", rpc: "putWrites", request: writes({ writes: [{ index: 0, channel: "c" }] }), field: "task_writes[0].writes[0].value" },
    { what: "to put nothing", rpc: "putContents", request: { threadId: "t" }, field: "contents" },
    { what: "an oversized segment", rpc: "putContents", request: { threadId: "t", contents: { hashes: new Uint8Array(16), sizes: [1_048_577], data: new Uint8Array(1_048_577) } }, field: "contents.sizes[0]" },
    { what: "to get from no thread", rpc: "getCheckpoint", request: {}, field: "thread_id" },
    { what: "contents without hashes", rpc: "getContents", request: { threadId: "t" }, field: "hashes" },
    { what: "an oversized page", rpc: "listThreads", request: { pageSize: 1_000_000 }, field: "page_size" },
    { what: "an oversized page token", rpc: "listThreads", request: { pageToken: "x".repeat(1_025) }, field: "page_token" },
    { what: "to keep no checkpoint", rpc: "pruneThread", request: { threadId: "t", keep: 0 }, field: "keep" },
    { what: "a copy to nowhere", rpc: "copyThread", request: { sourceThreadId: "t" }, field: "target_thread_id" },
    { what: "a lease of no time", rpc: "acquireThreadLease", request: lease({ ttl: { seconds: 0n } }), field: "ttl" },
    { what: "a lease of nobody", rpc: "acquireThreadLease", request: lease({ owner: "" }), field: "owner" },
    { what: "to renew no lease", rpc: "renewThreadLease", request: { threadId: "t", ttl: { seconds: 30n } }, field: "fencing_token" },
  ])("refuses $what, naming $field", async ({ rpc, request, field }) => {
    const error = await failureOf(call(rpc, request));
    expect([error.code, reasonOf(error)]).toEqual([Code.InvalidArgument, "INVALID_FIELD"]);
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations.map((violation) => violation.field)).toEqual([field]);
  });

  test("refuses a filter that is no JSON object, naming it", async () => {
    const client = createClient(CheckpointService, transport);
    const listing = async () => {
      for await (const _ of client.listCheckpoints({ filter: Buffer.from("[1]") })) expect.fail("it answered");
    };
    const error = await failureOf(listing());
    expect([error.code, error.rawMessage]).toEqual([Code.InvalidArgument, expect.stringContaining("filter")]);
  });

  test("refuses a message above the size of any request", async () => {
    const data = new Uint8Array(5 * 1024 * 1024);
    expect((await failureOf(call("putContents", { threadId: "t", contents: { data } }))).code).toBe(Code.ResourceExhausted);
  });

  test("has stored nothing of what it refused, and counts what it stores", async () => {
    const client = createClient(CheckpointService, transport);
    expect(await client.getStats({})).toMatchObject({ threadCount: 0n, checkpointCount: 0n });
    await client.putCheckpoint(put({ checkpointId: "1" }));
    await client.putCheckpoint(put({ checkpointId: "2" }));
    expect(await client.getStats({})).toMatchObject({ threadCount: 1n, checkpointCount: 2n });
    await client.deleteThread({ threadId: "t" });
    expect(await client.getStats({})).toMatchObject({ threadCount: 0n, checkpointCount: 0n });
  });
});

test("a tenant has as many threads as its quota says, and room again when one is deleted", async () => {
  const env = { RAGENTS_CHECKPOINT_URL: "memory:", RAGENTS_CHECKPOINT_PORT: "0", RAGENTS_CHECKPOINT_TENANT_THREADS: "2" };
  const service = await startCheckpointService(env, host());
  const transport = createGrpcTransport({ address: service.address, services: [CheckpointService] });
  const client = createClient(CheckpointService, transport);
  const put = (threadId: string, checkpointId = "1") => client.putCheckpoint({ threadId, checkpointId, metadata: Buffer.from("{}") });
  try {
    await put("a");
    await put("b");
    await put("b", "2");
    const refused = await failureOf(put("c"));
    expect([refused.code, reasonOf(refused)]).toEqual([Code.ResourceExhausted, "QUOTA_EXCEEDED"]);
    expect((await failureOf(client.copyThread({ sourceThreadId: "a", targetThreadId: "c" }))).code).toBe(Code.ResourceExhausted);
    await client.deleteThread({ threadId: "a" });
    await put("c");
    expect((await failureOf(put("a"))).code).toBe(Code.ResourceExhausted);
  } finally {
    transport.close();
    await service.stop(1_000);
  }
});
