import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../clock.js";
import { silentLogger } from "../logger.js";
import { createMetrics } from "../metrics.js";
import { OtlpSink } from "./otlp.js";
import type { Span } from "./span.js";
import { newSpanId, newTraceId } from "./trace-ids.js";
import { openTracing } from "./tracing.js";

/** A collector that keeps the bodies it gets and answers with these statuses, then 200. */
async function startCollector(...statuses: number[]) {
  const bodies: Buffer[] = [];
  const paths: string[] = [];
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    paths.push(`${request.url} ${request.headers["content-type"]}`);
    const status = statuses.shift() ?? 200;
    if (status === 200) bodies.push(Buffer.concat(parts));
    response.writeHead(status).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, bodies, paths };
}

const span: Span = {
  traceId: newTraceId("acme"),
  id: newSpanId(),
  parentId: newSpanId(),
  isTrace: false,
  name: "retrieve passages",
  kind: "general",
  service: "agent",
  tenant: "acme",
  requestId: "request-1",
  start: Date.now(),
  duration: 5,
  input: () => ({ query: "the zephyrine valve" }),
  metadata: { hits: 3 },
};
const hex = (id: string) => Buffer.from(id.replaceAll("-", ""), "hex");

test("sends spans with their ids, their service and their facts, and nobody's text", async () => {
  const { endpoint, bodies, paths } = await startCollector();
  const sink = new OtlpSink({ endpoint, batchDelayMs: 1, logger: silentLogger, registry: createMetrics().registry, clock: systemClock });
  sink.accept(span);
  await sink.close(5_000);
  expect(paths).toEqual(["/v1/traces application/x-protobuf"]);
  const [body] = bodies as [Buffer];
  for (const text of ["retrieve passages", "agent", "ragents.hits", "request-1"]) expect(body.includes(text), text).toBe(true);
  expect(body.includes(hex(span.traceId))).toBe(true);
  expect(body.includes(hex(span.id).subarray(8))).toBe(true);
  expect(body.includes(hex(span.parentId!).subarray(8))).toBe(true);
  expect(body.includes("zephyrine")).toBe(false);
});

test("a collector that is not there costs spans, which are counted, and nothing else", async () => {
  const { registry } = createMetrics();
  const sink = new OtlpSink({ endpoint: "http://127.0.0.1:1", batchDelayMs: 1, logger: silentLogger, registry, clock: systemClock });
  sink.accept(span);
  await sink.close(200);
  const { values } = await registry.getSingleMetric("otlp_dropped_spans_total")!.get();
  expect(values.find(({ labels }) => labels["reason" as never] === "shutdown")?.value).toBe(1);
});

test("is off unless an endpoint is configured, and a bad one is a configuration error", () => {
  const { registry } = createMetrics();
  const metrics = { ...createMetrics(), registry };
  openTracing({}, { logger: silentLogger, metrics, clock: systemClock });
  expect(registry.getSingleMetric("otlp_dropped_spans_total")).toBeUndefined();
  expect(() => openTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" }, { logger: silentLogger, metrics: createMetrics(), clock: systemClock })).toThrow(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
  );
});
