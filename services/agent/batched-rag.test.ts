import { Code, createClient, createRouterTransport } from "@connectrpc/connect";
import { Registry } from "prom-client";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { backgroundCall, runInCall } from "../../runtime/call-context.js";
import { systemClock } from "../../runtime/clock.js";
import { meshError, reasonOf } from "../../runtime/errors.js";
import { toStatus } from "../../runtime/grpc-status.js";
import { BatchedRetrieval } from "./batched-rag.js";

/** A rag service that answers with the query, and fails for "bad". */
function open() {
  const calls: string[][] = [];
  const hitsOf = (query: string) => ({ hits: [{ documentId: query }] });
  const wrong = () => meshError(Code.InvalidArgument, ErrorReason.INVALID_FILTER, "No such filter.");
  const transport = createRouterTransport(({ rpc }) => {
    rpc(RagService.method.retrieve, async ({ query }) => {
      calls.push([query]);
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (query === "bad") throw wrong();
      return hitsOf(query);
    });
    rpc(RagService.method.batchRetrieve, async ({ requests }) => {
      calls.push(requests.map(({ query }) => query));
      await new Promise((resolve) => setTimeout(resolve, 5));
      return {
        outcomes: requests.map(({ query }) => ({
          outcome: query === "bad" ? { case: "error" as const, value: toStatus(wrong()) } : { case: "response" as const, value: hitsOf(query) },
        })),
      };
    });
  });
  const retrieval = new BatchedRetrieval(createClient(RagService, transport), { clock: systemClock, registry: new Registry() });
  const ask = (query: string, user = "ann", signal?: AbortSignal) =>
    runInCall(backgroundCall({ tenant: "t", user }, "r", new AbortController().signal), async () => {
      const { hits } = await retrieval.retrieve({ collection: "default", query }, signal);
      return hits[0]?.documentId;
    });
  return { calls, ask };
}

describe("retrievals", () => {
  test("that come while another one is under way go out together, those that are the same once", async () => {
    const { calls, ask } = open();
    // Learns first how long a call takes.
    await ask("warm");
    const queries = ["a", "b", "c", "b", "c", "c"];
    expect(await Promise.all(queries.map((query) => ask(query)))).toEqual(queries);
    expect(calls).toEqual([["warm"], ["a"], ["b", "c"]]);
  });

  test("of one caller never go out in the name of another", async () => {
    const { calls, ask } = open();
    await Promise.all(["a", "b", "c"].flatMap((query) => [ask(`ann ${query}`, "ann"), ask(`bob ${query}`, "bob")]));
    for (const call of calls) expect(new Set(call.map((query) => query.slice(0, 3))).size).toBe(1);
  });

  test("fail alone", async () => {
    const { ask } = open();
    await ask("warm");
    const failure = (error: unknown) => reasonOf(error);
    expect(await Promise.all(["a", "bad", "b"].map((query) => ask(query).catch(failure)))).toEqual(["a", "INVALID_FILTER", "b"]);
  });

  test("are not waited for by one who has gone", async () => {
    const { ask } = open();
    const gone = new AbortController();
    const asking = ask("a", "ann", gone.signal).catch((error: Error) => error.message);
    gone.abort(new Error("gone"));
    expect(await asking).toBe("gone");
  });
});
