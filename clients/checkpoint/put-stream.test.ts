import { Code, ConnectError, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { emptyCheckpoint } from "@langchain/langgraph-checkpoint";
import { expect, test } from "vitest";
import { CheckpointService } from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { backgroundCall, LOCAL_IDENTITY, runInCall } from "../../runtime/call-context.js";
import { toStatus } from "../../runtime/grpc-status.js";
import { GrpcCheckpointSaver } from "./saver.js";

const METADATA = { source: "loop" as const, step: 1, parents: {} };

/** A saver before a service that streams as it is told, and the threads of the puts that came as a stream and as a call. */
function saverOf(streamPuts?: ServiceImpl<typeof CheckpointService>["streamPuts"]) {
  const called: string[] = [];
  let streams = 0;
  const transport = createRouterTransport(({ service }) => {
    service(CheckpointService, {
      ...(streamPuts !== undefined && {
        streamPuts(requests, context) {
          streams += 1;
          return streamPuts(requests, context);
        },
      }),
      putCheckpoint({ threadId }) {
        called.push(threadId);
        return {};
      },
    });
  });
  const saver = new GrpcCheckpointSaver({ transport });
  const put = (thread: string) => saver.put({ configurable: { thread_id: thread } }, emptyCheckpoint(), METADATA, {});
  return { put, called, streams: () => streams };
}

test("puts go over one stream, and each has its own answer, in any order", async () => {
  const { put, called, streams } = saverOf(async function* (requests) {
    const ids: number[] = [];
    for await (const { putId } of requests) if (ids.push(putId) === 3) break;
    const [first, second, third] = ids;
    yield { putId: third! };
    yield { putId: second!, error: toStatus(new ConnectError("no", Code.FailedPrecondition)) };
    yield { putId: first! };
  });
  const [first, second, third] = await Promise.allSettled([put("1"), put("2"), put("3")]);
  expect([first?.status, third?.status]).toEqual(["fulfilled", "fulfilled"]);
  expect(second).toMatchObject({ status: "rejected", reason: { code: Code.FailedPrecondition, rawMessage: "no" } });
  expect([called, streams()]).toEqual([[], 1]);
});

test("what a stream leaves without an answer goes as a call, and the next put over another stream", async () => {
  const { put, called, streams } = saverOf(async function* (requests) {
    for await (const { putId, put: request } of requests) {
      if (request.case === "checkpoint" && request.value.threadId === "lost") throw new ConnectError("gone", Code.Unavailable);
      yield { putId };
    }
  });
  await put("1");
  await put("lost");
  await put("2");
  expect([called, streams()]).toEqual([["lost"], 2]);
});

test("a service without streams is asked for one once", async () => {
  const { put, called } = saverOf();
  await put("1");
  await put("2");
  expect(called).toEqual(["1", "2"]);
});

test("tenants do not share a stream, and users of one do", async () => {
  const { put, streams } = saverOf(async function* (requests) {
    for await (const { putId } of requests) yield { putId };
  });
  for (const [tenant, user] of [["a", "1"], ["a", "2"], ["b", "1"]] as const) {
    await runInCall(backgroundCall({ ...LOCAL_IDENTITY, tenant, user }, "request", new AbortController().signal), () => put("t"));
  }
  expect(streams()).toBe(2);
});

test("a put ends with its call", async () => {
  const { put } = saverOf(async function* (requests) {
    for await (const _ of requests);
  });
  const stop = new AbortController();
  const call = backgroundCall(LOCAL_IDENTITY, "request", stop.signal);
  const cancelled = runInCall(call, () => put("1"));
  setImmediate(() => setImmediate(() => stop.abort()));
  await expect(cancelled).rejects.toMatchObject({ code: Code.Canceled });
  const late = runInCall({ ...call, signal: new AbortController().signal, deadline: Date.now() - 1 }, () => put("1"));
  await expect(late).rejects.toMatchObject({ code: Code.DeadlineExceeded });
});
