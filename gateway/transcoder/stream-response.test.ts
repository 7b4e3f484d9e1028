import { Writable } from "node:stream";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { sendStream, type StreamItem } from "./stream-response.js";
import { deferred } from "./testdata/deferred.js";
import { startRestServer } from "./testdata/rest-server.js";
import { testService } from "./testdata/transcoding.js";

const library = testService("Library");
const target = "/v1/shelves/1/books:watch";
const ndjson = { accept: "application/x-ndjson" };

interface Watch {
  parent: string;
  count: number;
}

function book(i: number) {
  return { eventId: BigInt(i), book: { name: `b${i}` } };
}

/** A server whose WatchBooks is the given generator. */
function watching(
  watchBooks: (request: Watch, context: HandlerContext) => AsyncGenerator<unknown>,
  options: Parameters<typeof startRestServer>[1] = {},
) {
  return startRestServer((router) => router.service(library, { watchBooks } as object), options);
}

async function* counted({ count }: Watch) {
  for (let i = 1; i <= count; i++) yield book(i);
  if (count > 2) throw new ConnectError("The shelf fell down.", Code.DataLoss, undefined, [reason("SHELF_FELL")]);
}

function reason(name: string) {
  return { desc: library.method["getBook"]!.input, value: { name } };
}

describe("a stream", () => {
  test("is SSE without a wish: one event a message, with its id, and an end", async () => {
    await using rest = await watching(counted);
    for (const accept of ["", "*/*", "text/event-stream", "application/x-ndjson;q=0.5, text/*"]) {
      const answer = await rest.ask("GET", `${target}?count=2`, { headers: { accept } });
      expect(answer.headers["content-type"]).toBe("text/event-stream");
      expect(answer.headers["cache-control"]).toBe("no-store");
      const events = answer.text.split("\n\n");
      expect(events[0]).toMatch(/^id: 1\ndata: {"event_id":1,"book":{"name":"b1",.*}}$/);
      expect(events[1]).toMatch(/^id: 2\ndata: /);
      expect(events.slice(2)).toEqual(["event: end\ndata: {}", ""]);
    }
  });

  test("is NDJSON when asked for: one line a message", async () => {
    await using rest = await watching(counted);
    const answer = await rest.ask("GET", `${target}?count=2`, { headers: ndjson });
    expect(answer.headers["content-type"]).toBe("application/x-ndjson");
    expect(answer.text.split("\n").map((line) => line && JSON.parse(line).event_id)).toEqual([1, 2, ""]);
  });

  test("without messages is an empty stream", async () => {
    await using rest = await watching(counted);
    expect((await rest.ask("GET", target)).text).toBe("event: end\ndata: {}\n\n");
    expect((await rest.ask("GET", target, { headers: ndjson })).text).toBe("");
  });

  test("is refused to clients that take neither form", async () => {
    await using rest = await watching(counted);
    const answer = await rest.ask("GET", target, { headers: { accept: "application/json" } });
    expect([answer.status, answer.json.details[0].reason]).toEqual([406, "NOT_ACCEPTABLE"]);
  });

  test("has no HEAD", async () => {
    await using rest = await watching(counted);
    const answer = await rest.ask("HEAD", target);
    expect([answer.status, answer.headers.allow]).toEqual([405, "GET, OPTIONS"]);
  });

  test("takes its ids from the configured field", async () => {
    await using rest = await watching(counted, { eventIdField: "none" });
    expect((await rest.ask("GET", `${target}?count=1`)).text).not.toContain("id: 1");
  });

  test("passes Last-Event-ID on to the RPC", async () => {
    let lastEventId: string | null = null;
    await using rest = await watching(async function* (request, context) {
      lastEventId = context.requestHeader.get("last-event-id");
      yield* counted(request);
    });
    await rest.ask("GET", target, { headers: { "last-event-id": "41" } });
    expect(lastEventId).toBe("41");
    expect((await rest.ask("GET", target, { headers: { "last-event-id": "4\t1" } })).status).toBe(400);
  });
});

describe("errors of a stream", () => {
  const failing = async function* ({ count }: Watch): AsyncGenerator<unknown> {
    if (count === 0) throw new ConnectError("There is no such shelf.", Code.NotFound);
    yield book(1);
  };

  test("before the first message are HTTP errors", async () => {
    await using rest = await watching(failing);
    const answer = await rest.ask("GET", target);
    expect([answer.status, answer.json]).toEqual([404, { code: 5, message: "There is no such shelf.", details: [] }]);
  });

  test.each([
    { headers: {}, end: /\n\nevent: error\ndata: (.*)\n\n$/ },
    { headers: ndjson, end: /\n{"error":(.*)}\n$/ },
  ])("after it are the last event: $headers", async ({ headers, end }) => {
    const statuses: number[] = [];
    await using rest = await watching(counted, { onError: (_error, { status }) => statuses.push(status) });
    const answer = await rest.ask("GET", `${target}?count=3`, { headers });
    expect(answer.status).toBe(200);
    const status = JSON.parse(end.exec(answer.text)![1]!);
    expect(status).toMatchObject({ code: 15, message: "The shelf fell down.", details: [{ name: "SHELF_FELL" }] });
    expect(answer.text).not.toContain("event: end");
    expect(statuses).toEqual([500]);
  });
});

test("heartbeats keep an idle SSE stream alive, even before its first message", async () => {
  const go = deferred<void>();
  await using rest = await watching(
    async function* () {
      await go.promise;
      yield book(1);
    },
    { heartbeatMs: 5 },
  );
  const answer = await fetch(`http://127.0.0.1:${rest.port}${target}`);
  let text = "";
  for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.includes(": heartbeat\n\n")) go.resolve();
  }
  expect(text).toMatch(/^(: heartbeat\n\n)+id: 1\ndata: .*\n\n(: heartbeat\n\n)*event: end\ndata: {}\n\n$/);
});

test.each([true, false])("a client that goes away: the stream goes on = %s", async (keepRunning) => {
  const sent = deferred<void>();
  const aborted = deferred<boolean>();
  const gone = deferred<void>();
  await using rest = await watching(
    async function* (_request, context) {
      context.signal.addEventListener("abort", () => aborted.resolve(true));
      yield book(1);
      await sent.promise;
      yield book(2);
      aborted.resolve(false);
    },
    {
      keepRunning: () => {
        gone.resolve();
        return keepRunning;
      },
    },
  );
  const client = new AbortController();
  await fetch(`http://127.0.0.1:${rest.port}${target}`, { signal: client.signal });
  client.abort();
  await gone.promise;
  sent.resolve();
  expect(await aborted.promise).toBe(!keepRunning);
});

test("a slow reader is waited for: messages are not collected in memory", async () => {
  const writes: (() => void)[] = [];
  const slow = Object.assign(
    new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => void writes.push(done) }),
    { headersSent: false, setHeader() {}, flushHeaders() {}, writeHead: () => (slow.headersSent = true) },
  );
  let made = 0;
  async function* items(): AsyncGenerator<StreamItem> {
    while (made < 1000) yield { json: ++made, id: undefined };
  }
  const done = sendStream(slow as never, items(), {
    mediaType: "application/x-ndjson",
    heartbeatMs: 60_000,
    toStatus: () => null as never,
  });
  for (let taken = 1; taken <= 5; taken++) {
    // Everything that can run without the reader has run by the time a timer fires.
    await new Promise((resolve) => setTimeout(resolve));
    expect(made).toBe(taken);
    writes.shift()!();
  }
  slow.destroy();
  await done;
  expect(made).toBe(1000);
});
