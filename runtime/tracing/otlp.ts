import { Counter, type Registry } from "prom-client";
import type { Clock } from "../clock.js";
import type { Logger } from "../logger.js";
import type { OtlpExporter } from "./otlp-exporter.js";
import { type Delivery, type DropReason, Outbox } from "./outbox.js";
import { ReceiverLog } from "./receiver-log.js";
import type { Span, SpanSink } from "./span.js";

export interface OtlpOptions {
  /** The collector, e.g. http://collector:4318; spans go to /v1/traces below it. */
  readonly endpoint: string;
  /** Time that a batch may fill, in milliseconds. */
  readonly batchDelayMs: number;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly clock: Clock;
}

/** Time for one request to the collector, in milliseconds. */
const REQUEST_TIMEOUT_MS = 10_000;

/**
 * Sends spans to an OpenTelemetry collector, as OTLP by HTTP, behind a bounded queue: what does not fit is dropped and counted. Names,
 * times, counts and models only: prompts, documents and answers are never sent. OTEL_EXPORTER_OTLP_HEADERS are the exporter's own.
 */
export class OtlpSink implements SpanSink {
  readonly #options: OtlpOptions;
  readonly #outbox: Outbox<Span>;
  #exporter: Promise<OtlpExporter> | undefined;
  readonly #log: ReceiverLog;

  constructor(options: OtlpOptions) {
    this.#options = options;
    this.#log = new ReceiverLog(options.logger, "otlp");
    const dropped = new Counter({
      name: "otlp_dropped_spans_total",
      help: "Spans that the OpenTelemetry collector never got, by why: the queue was full, or the process ended.",
      labelNames: ["reason"],
      registers: [options.registry],
    });
    for (const reason of ["full", "shutdown"] satisfies DropReason[]) dropped.inc({ reason }, 0);
    this.#outbox = new Outbox<Span>({
      send: (batch) => this.#send(batch),
      onDrop: (count, reason) => dropped.inc({ reason }, count),
      clock: options.clock,
      delayMs: options.batchDelayMs,
    });
  }

  accept(span: Span): void {
    this.#outbox.add(span);
  }

  /** Sends what is waiting, for at most `withinMs`, and takes nothing afterwards. */
  async close(withinMs: number): Promise<void> {
    await this.#outbox.close(withinMs);
    await (await this.#exporter)?.close();
  }

  async #send(batch: readonly Span[]): Promise<Delivery> {
    // OpenTelemetry's packages take a while to load: only where they are used.
    this.#exporter ??= import("./otlp-exporter.js").then(({ openOtlpExporter }) => openOtlpExporter(this.#options.endpoint, REQUEST_TIMEOUT_MS));
    const error = await (await this.#exporter).send(batch);
    if (error === undefined) this.#log.reached();
    else this.#log.failed({ reason: error.message });
    return error === undefined ? { outcome: "taken" } : { outcome: "later" };
  }
}
