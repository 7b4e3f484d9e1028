import { Histogram, type Registry } from "prom-client";
import type { Logger } from "../logger.js";
import type { SpanSink } from "./span.js";

/** A line at debug level for every span, without anybody's text. */
export function logSink(logger: Logger): SpanSink {
  return {
    accept({ traceId, id, parentId, name, kind, service, tenant, requestId, duration, metadata, model, usage, costUsd, error }) {
      logger.debug("span", {
        span: name,
        kind,
        service,
        trace_id: traceId,
        span_id: id,
        parent_id: parentId,
        request_id: requestId,
        tenant,
        seconds: duration / 1000,
        ...metadata,
        ...(model !== undefined && { model }),
        ...(usage !== undefined && { input_tokens: usage.inputTokens, output_tokens: usage.outputTokens }),
        ...(costUsd !== undefined && { cost_usd: costUsd }),
        ...(error !== undefined && { error: error.type }),
      });
    },
  };
}

/** The time that spans take, by name and outcome. */
export function metricsSink(registry: Registry): SpanSink {
  const seconds = new Histogram({
    name: "span_duration_seconds",
    help: "Time of the parts of requests: graph nodes, model calls, retrieval, cache lookups, limiter waits, RPCs between services.",
    labelNames: ["service", "span", "outcome"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
    registers: [registry],
  });
  return {
    accept({ service, name, duration, error }) {
      seconds.observe({ service, span: name, outcome: error === undefined ? "ok" : "error" }, duration / 1000);
    },
  };
}
