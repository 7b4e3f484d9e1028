import type { Interceptor } from "@connectrpc/connect";
import { Histogram, type Registry } from "prom-client";
import { type AnswerRequest, RagService, type RetrieveRequest } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import type { Clock } from "../../runtime/clock.js";
import { modes } from "./index/fusion.js";
import { questionOf } from "./retrieval/retriever.js";

const { retrieve, answer } = RagService.method;

/** Shows how long retrievals take, by mode. */
export function retrievalMetrics(registry: Registry, clock: Clock): Interceptor {
  const duration = new Histogram({
    name: "rag_retrieval_seconds",
    help: "Time of the retrievals that succeeded, with their answers where those are asked for, by mode.",
    labelNames: ["mode"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  for (const mode of modes) duration.zero({ mode });
  return (next) => async (request) => {
    if (request.stream || (request.method !== retrieve && request.method !== answer)) return next(request);
    const started = clock.monotonic();
    const response = await next(request);
    const { mode } = questionOf(request.message as RetrieveRequest | AnswerRequest);
    duration.observe({ mode }, (clock.monotonic() - started) / 1000);
    return response;
  };
}
