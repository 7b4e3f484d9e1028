import type { IncomingMessage, ServerResponse } from "node:http";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { Clock } from "../runtime/clock.js";

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
/** What an answer that the client did not wait for is counted as, after nginx' code. */
const CLIENT_GONE = 499;

/** Statuses that alerts and autoscalers ask for. */
const EXPECTED_CODES = [200, 429, 500, 503, 504];

/** Counts what the gateway answers. Labels are of the API's own words, however strange the requests. */
export interface HttpMetrics {
  /** Shows requests that call the RPC as not yet made, so that the first of them, or the first failure, moves a counter. */
  expect(rpc: string, method: string): void;
  /** A request has come; counted when its response has ended. */
  observe(request: IncomingMessage, response: ServerResponse): void;
  /** Names the RPC that the request calls, e.g. "ragents.rag.v1.RagService/Retrieve". */
  name(request: IncomingMessage, rpc: string): void;
}

export function httpMetrics(registry: Registry, clock: Clock): HttpMetrics {
  const requests = new Counter({
    name: "http_requests_total",
    help: "HTTP requests answered, by the RPC that they call, method and status.",
    labelNames: ["rpc", "method", "code"],
    registers: [registry],
  });
  const duration = new Histogram({
    name: "http_request_duration_seconds",
    help: "Time from a request's head to the end of its response.",
    labelNames: ["rpc", "method"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
    registers: [registry],
  });
  const inFlight = new Gauge({ name: "http_requests_in_flight", help: "HTTP requests under way.", registers: [registry] });
  const names = new WeakMap<IncomingMessage, string>();
  return {
    expect(rpc, method) {
      for (const code of EXPECTED_CODES) requests.inc({ rpc, method, code }, 0);
      duration.zero({ rpc, method });
    },
    observe(request, response) {
      const started = clock.monotonic();
      const method = METHODS.has(request.method ?? "") ? String(request.method) : "other";
      inFlight.inc();
      response.once("close", () => {
        inFlight.dec();
        const rpc = names.get(request) ?? "other";
        requests.inc({ rpc, method, code: response.writableFinished ? response.statusCode : CLIENT_GONE });
        duration.observe({ rpc, method }, (clock.monotonic() - started) / 1000);
      });
    },
    name: (request, rpc) => void names.set(request, rpc),
  };
}
