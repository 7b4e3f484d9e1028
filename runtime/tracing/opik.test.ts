import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type OpikDouble, startOpikDouble } from "../../tests/servers/opik-double.js";
import { type Clock, systemClock } from "../clock.js";
import { silentLogger } from "../logger.js";
import { createMetrics, type Metrics } from "../metrics.js";
import { OpikSink } from "./opik.js";
import type { Span } from "./span.js";
import { newSpanId, newTraceId } from "./trace-ids.js";

/** Waits are short, and never over before their signal says so. */
const quick: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 5), signal) };
const LONG_MS = 20_000;
const SECRET = "the zephyrine valve";

let opik: OpikDouble;
let metrics: Metrics;
let sink: OpikSink;

function open(options: { content?: boolean } = {}): OpikSink {
  metrics = createMetrics();
  const { content = true } = options;
  const where = { url: opik.url, apiKey: "key", workspace: "space", projectName: "project", batchDelayMs: 1 };
  return new OpikSink({ ...where, content, logger: silentLogger, registry: metrics.registry, clock: quick });
}

function span(details: Partial<Span> = {}): Span {
  return {
    traceId: newTraceId("acme"),
    id: newSpanId(),
    isTrace: false,
    name: "work",
    kind: "general",
    service: "agent",
    tenant: "acme",
    requestId: "r1",
    start: Date.now(),
    duration: 5,
    ...details,
  };
}

async function dropped(what: string): Promise<Record<string, number>> {
  const { values } = (await metrics.registry.getSingleMetric("opik_dropped_total")!.get()) as { values: { labels: Record<string, string>; value: number }[] };
  return Object.fromEntries(values.filter(({ labels }) => labels["what"] === what).map(({ labels, value }) => [labels["reason"]!, value]));
}

function accept(count: number): string[] {
  return Array.from({ length: count }, () => {
    const one = span();
    sink.accept(one);
    return one.id;
  });
}

const received = () => opik.spans.map(({ id }) => id);
const NOTHING_LOST = { full: 0, refused: 0, shutdown: 0 };

beforeEach(async () => {
  opik = await startOpikDouble();
  sink = open();
});
afterEach(async () => {
  await sink.close(0);
  await opik.stop();
});

describe("spans on their way to Opik", () => {
  test("are sent once each, in the server's own terms", async () => {
    const whole = span({ isTrace: true, threadId: "t1", input: () => ({ query: SECRET }), output: () => ({ response: "yes" }), metadata: { cached: false } });
    const call = span({ traceId: whole.traceId, parentId: whole.id, kind: "llm", model: "m", usage: { inputTokens: 3, outputTokens: 4 }, costUsd: 0.5, firstTokenMs: 7, error: { type: "Unavailable", message: "gone" } });
    sink.accept(whole);
    sink.accept(call);
    await sink.close(LONG_MS);
    expect(opik.traces).toMatchObject([{ id: whole.traceId, project_name: "project", thread_id: "t1", input: { query: SECRET }, output: { response: "yes" } }]);
    expect(opik.spans).toMatchObject([
      { id: whole.id, trace_id: whole.traceId, metadata: { cached: false, service: "agent", tenant: "acme", request_id: "r1" } },
      {
        id: call.id,
        parent_span_id: whole.id,
        type: "llm",
        model: "m",
        usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
        total_estimated_cost: 0.5,
        ttft: 7,
        error_info: { exception_type: "Unavailable", message: "gone" },
      },
    ]);
    expect(opik.headers).toEqual({ authorization: "key", workspace: "space" });
  });

  test("wait while the server is gone, and are sent once each when it is back", async () => {
    await opik.stop();
    const before = accept(300);
    await expect.poll(async () => (await metrics.registry.metrics()).includes('opik_queue_items{what="span"} 300')).toBe(true);
    await opik.restart();
    const after = accept(300);
    await sink.close(LONG_MS);
    expect(received()).toEqual([...before, ...after]);
    expect(await dropped("span")).toEqual(NOTHING_LOST);
  });

  test("are sent again when the server has no time for them or fails", async () => {
    const answers = [{ status: 429, retryAfterS: 0 }, { status: 503 }, { status: 500 }, { status: 429 }, { status: 401 }];
    opik.behave = () => answers.shift() ?? "take";
    const ids = accept(450);
    await sink.close(LONG_MS);
    expect(received()).toEqual(ids);
    expect(await dropped("span")).toEqual(NOTHING_LOST);
  });

  test("lose only what the server refuses, and that is counted", async () => {
    const ids = accept(50);
    const bad = new Set([ids[0], ids[20], ids[21]]);
    opik.behave = (records) => (records.some(({ id }) => bad.has(id)) ? { status: 400 } : "take");
    await sink.close(LONG_MS);
    expect(received()).toEqual(ids.filter((id) => !bad.has(id)));
    expect(await dropped("span")).toEqual({ ...NOTHING_LOST, refused: 3 });
  });

  test("hold nothing up when the server hangs: the end comes in time, and what is lost is counted", async () => {
    opik.behave = () => "hang";
    accept(10);
    await expect.poll(() => opik.requests).toBeGreaterThan(0);
    accept(5);
    await sink.close(50);
    expect(received()).toEqual([]);
    expect(await dropped("span")).toEqual({ ...NOTHING_LOST, shutdown: 15 });
  });

  test("are dropped and counted when the queue is full", async () => {
    opik.behave = () => "hang";
    accept(10_003);
    expect(await dropped("span")).toEqual({ ...NOTHING_LOST, full: 3 });
  });

  test("hold nobody's text when content is not to leave", async () => {
    await sink.close(0);
    sink = open({ content: false });
    let made = 0;
    const secret = () => ({ text: `${SECRET} ${(made += 1)}` });
    const details = { input: secret, output: secret, error: { type: "Internal", message: SECRET } };
    sink.accept(span({ ...details, isTrace: true, metadata: { hits: 3 } }));
    await sink.close(LONG_MS);
    expect(opik.spans).toMatchObject([{ metadata: { hits: 3 }, error_info: { exception_type: "Internal" } }]);
    expect(JSON.stringify([opik.traces, opik.spans])).not.toContain("zephyrine");
    expect(made).toBe(0);
  });

  test("are followed by what people think of the answers", async () => {
    const traceId = newTraceId("acme");
    sink.score({ traceId, name: "helpful", value: 0.5, reason: "half of it" });
    await sink.close(LONG_MS);
    expect(opik.scores).toMatchObject([{ id: traceId, project_name: "project", name: "helpful", value: 0.5, reason: "half of it", source: "sdk" }]);
  });
});
