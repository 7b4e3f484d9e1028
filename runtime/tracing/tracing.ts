import { z } from "zod";
import type { Clock } from "../clock.js";
import { flag, integer, parseEnv } from "../config.js";
import type { Logger } from "../logger.js";
import type { Metrics } from "../metrics.js";
import { type Feedback, OpikSink } from "./opik.js";
import { OtlpSink } from "./otlp.js";
import type { SpanSink } from "./span.js";
import { logSink, metricsSink } from "./sinks.js";
import { Tracer } from "./tracer.js";

/** Variables of tracing: Opik's own names, and whether prompts, documents and answers may leave the mesh. */
const schema = z.object({
  OPIK_URL_OVERRIDE: z.url({ protocol: /^https?$/, error: "give an http:// or https:// URL" }).optional(),
  OPIK_API_KEY: z.string().optional(),
  OPIK_WORKSPACE: z.string().optional(),
  OPIK_PROJECT_NAME: z.string().default("ragents-mesh"),
  OPIK_BATCH_DELAY_MS: integer({ default: 500, min: 0, max: 60_000, unit: "milliseconds" }),
  RAGENTS_TRACE_CONTENT: flag(true),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url({ protocol: /^https?$/, error: "give an http:// or https:// URL" }).optional(),
});

/** Where a process's spans go. */
export interface Tracing {
  /** The tracer of one of the process's services. */
  tracer(service: string): Tracer;
  /** Sends what somebody thinks of an answer; undefined when nothing takes feedback. */
  readonly score: ((feedback: Feedback) => void) | undefined;
  /** Sends what is waiting, for at most `withinMs`. */
  close(withinMs: number): Promise<void>;
}

/** Time that a batch for a collector may fill, in milliseconds. */
const OTLP_DELAY_MS = 500;

/** Time that the last spans get at a process's end, in milliseconds. */
export const TRACE_FLUSH_MS = 5_000;

/**
 * Opens tracing: to the log and the metrics always, to Opik when its address or key is set, to an
 * OpenTelemetry collector when OTEL_EXPORTER_OTLP_ENDPOINT is. Throws ConfigError.
 */
export function openTracing(env: NodeJS.ProcessEnv, { logger, metrics, clock }: { logger: Logger; metrics: Metrics; clock: Clock }): Tracing {
  const config = parseEnv(env, schema);
  const { registry } = metrics;
  const opik =
    config.OPIK_URL_OVERRIDE === undefined && config.OPIK_API_KEY === undefined
      ? undefined
      : new OpikSink({
          url: config.OPIK_URL_OVERRIDE,
          apiKey: config.OPIK_API_KEY,
          workspace: config.OPIK_WORKSPACE,
          projectName: config.OPIK_PROJECT_NAME,
          batchDelayMs: config.OPIK_BATCH_DELAY_MS,
          content: config.RAGENTS_TRACE_CONTENT,
          logger,
          registry,
          clock,
        });
  const endpoint = config.OTEL_EXPORTER_OTLP_ENDPOINT;
  const otlp = endpoint === undefined ? undefined : new OtlpSink({ endpoint, batchDelayMs: OTLP_DELAY_MS, logger, registry, clock });
  const receivers = [opik, otlp].filter((sink) => sink !== undefined);
  const sinks: SpanSink[] = [logSink(logger), metricsSink(registry), ...receivers];
  return {
    tracer: (service) => new Tracer({ service, clock, sinks }),
    score: opik && ((feedback) => opik.score(feedback)),
    close: async (withinMs) => void (await Promise.all(receivers.map((sink) => sink.close(withinMs)))),
  };
}
