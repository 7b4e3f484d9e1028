import { Counter, Gauge, type Registry } from "prom-client";
import type { Clock } from "../clock.js";
import type { Logger } from "../logger.js";
import { type OpikMapping, type OpikSpan, type OpikTrace, toOpikSpan, toOpikTrace } from "./opik-records.js";
import { type Delivery, type DropReason, Outbox } from "./outbox.js";
import { ReceiverLog } from "./receiver-log.js";
import type { Span, SpanSink } from "./span.js";

export interface OpikOptions extends OpikMapping {
  readonly url: string | undefined;
  readonly apiKey: string | undefined;
  readonly workspace: string | undefined;
  /** Time that a batch may fill, in milliseconds. */
  readonly batchDelayMs: number;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly clock: Clock;
}

/** What a person or a program thinks of an answer. */
export interface Feedback {
  readonly traceId: string;
  /** What was judged, e.g. "helpful". */
  readonly name: string;
  readonly value: number;
  /** Empty when none was given. */
  readonly reason: string;
}

/** Time for one request to Opik, in seconds. */
const REQUEST_TIMEOUT_S = 10;
const TOO_MANY_REQUESTS = 429;
/** Statuses that no repetition changes: the batch is wrong, not the moment. */
const REFUSALS = new Set([400, 409, 413, 422]);

/**
 * Sends spans to Opik from queues of our own: its client's have no bound, lose a refused batch, and report success after
 * a loss. Every span that is taken into a queue is sent until Opik has it; Opik knows repetitions by the spans' ids.
 */
export class OpikSink implements SpanSink {
  readonly #options: OpikOptions;
  readonly #traces: Outbox<OpikTrace>;
  readonly #spans: Outbox<OpikSpan>;
  readonly #feedback: Outbox<Feedback>;
  #client: Promise<OpikApi> | undefined;
  readonly #log: ReceiverLog;

  constructor(options: OpikOptions) {
    this.#options = options;
    this.#log = new ReceiverLog(options.logger, "opik");
    const { registry, clock, batchDelayMs: delayMs, projectName } = options;
    const dropped = new Counter({
      name: "opik_dropped_total",
      help: "Traces, spans and feedback that Opik never got, by why: the queue was full, Opik refused them, the process ended.",
      labelNames: ["what", "reason"],
      registers: [registry],
    });
    const outbox = <Item>(what: string, deliver: (api: OpikApi, batch: Item[], request: object) => Promise<unknown>) => {
      for (const reason of ["full", "refused", "shutdown"] satisfies DropReason[]) dropped.inc({ what, reason }, 0);
      const send = (batch: readonly Item[], signal: AbortSignal) => this.#send(signal, (api, request) => deliver(api, [...batch], request));
      return new Outbox<Item>({ send, onDrop: (count, reason) => dropped.inc({ what, reason }, count), clock, delayMs });
    };
    this.#traces = outbox("trace", (api, traces, request) => api.traces.createTraces({ traces }, request));
    this.#spans = outbox("span", (api, spans, request) => api.spans.createSpans({ spans }, request));
    this.#feedback = outbox("feedback", (api, batch, request) => {
      const scores = batch.map(({ traceId: id, name, value, reason }) => ({ id, projectName, name, value, reason, source: "sdk" as const }));
      return api.traces.scoreBatchOfTraces({ scores }, request);
    });
    const queues = { trace: this.#traces, span: this.#spans, feedback: this.#feedback };
    new Gauge({
      name: "opik_queue_items",
      help: "Traces, spans and feedback that wait to be sent to Opik.",
      labelNames: ["what"],
      registers: [registry],
      collect() {
        for (const [what, queue] of Object.entries(queues)) this.set({ what }, queue.waiting);
      },
    });
  }

  accept(span: Span): void {
    if (span.isTrace) this.#traces.add(toOpikTrace(span, this.#options));
    this.#spans.add(toOpikSpan(span, this.#options));
  }

  score(feedback: Feedback): void {
    this.#feedback.add(feedback);
  }

  /** Sends what is waiting, for at most `withinMs`, and takes nothing afterwards. */
  async close(withinMs: number): Promise<void> {
    await Promise.all([this.#traces, this.#spans, this.#feedback].map((outbox) => outbox.close(withinMs)));
  }

  async #send(signal: AbortSignal, deliver: (api: OpikApi, request: object) => Promise<unknown>): Promise<Delivery> {
    try {
      this.#client ??= openClient(this.#options);
      // A signal for each: the client never takes its listeners off.
      await deliver(await this.#client, { maxRetries: 0, timeoutInSeconds: REQUEST_TIMEOUT_S, abortSignal: AbortSignal.any([signal]) });
      this.#log.reached();
      return { outcome: "taken" };
    } catch (err) {
      const { statusCode, rawResponse } = err as { statusCode?: number; rawResponse?: Response };
      const refused = statusCode !== undefined && REFUSALS.has(statusCode);
      const fields = { status: statusCode, reason: causeOf(err) };
      if (refused) {
        this.#options.logger.warn("opik_refused", fields);
        return { outcome: "refused" };
      }
      this.#log.failed(fields);
      const seconds = statusCode === TOO_MANY_REQUESTS ? Number(rawResponse?.headers.get("retry-after") ?? Number.NaN) : Number.NaN;
      return { outcome: "later", ...(Number.isFinite(seconds) && { afterMs: Math.min(Math.max(seconds, 0), 60) * 1000 }) };
    }
  }
}

type OpikApi = InstanceType<(typeof import("opik"))["Opik"]>["api"];

/** Opik's client takes over half a second to load: only where it is used. */
async function openClient({ url, apiKey, workspace, projectName }: OpikOptions): Promise<OpikApi> {
  const { Opik, disableLogger } = await import("opik");
  disableLogger();
  const options = { ...(url !== undefined && { apiUrl: url }), ...(apiKey !== undefined && { apiKey }), ...(workspace !== undefined && { workspaceName: workspace }) };
  return new Opik({ ...options, projectName }).api;
}

/** The kind of failure, without what was sent: the client's errors quote the server, which may quote us. */
function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  const { statusCode } = error as { statusCode?: number };
  return statusCode === undefined ? error.message : `status ${statusCode}`;
}
