import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { collectDefaultMetrics, Counter, Histogram, Registry } from "prom-client";

/** The process's metrics. Names follow go-grpc-prometheus and Prometheus' conventions; labels never name users or threads. */
export interface Metrics {
  /** What /metrics shows. Services register their own metrics here. */
  readonly registry: Registry;
  /** Shows every RPC of a service as not yet called: a rate, and so an alert, needs the counter before its first event. */
  expectRpcs(service: DescService): void;
  /** A call has begun. */
  rpcStarted(rpc: RpcLabels): void;
  /** A call has ended with this gRPC code, e.g. "NotFound", after `seconds`. */
  rpcHandled(rpc: RpcLabels, code: string, seconds: number): void;
  /** Counts the items of batches: call what it returns with the size of each. */
  batches(name: string): (size: number) => void;
}

export interface RpcLabels {
  grpc_type: "unary" | "client_stream" | "server_stream" | "bidi_stream";
  grpc_service: string;
  grpc_method: string;
}

/** The labels of an RPC's metrics. */
export function rpcLabels(method: DescMethod): RpcLabels {
  const types = {
    unary: "unary",
    client_streaming: "client_stream",
    server_streaming: "server_stream",
    bidi_streaming: "bidi_stream",
  } as const;
  return { grpc_type: types[method.methodKind], grpc_service: method.parent.typeName, grpc_method: method.name };
}

/** How calls end: "OK" and the names of the error codes. */
const CODES = ["OK", ...Object.values(Code).filter((name) => typeof name === "string")];

const RPC_LABELS = ["grpc_type", "grpc_service", "grpc_method"] as const;

export function createMetrics(options: { processMetrics: boolean } = { processMetrics: false }): Metrics {
  const registry = new Registry();
  if (options.processMetrics) collectDefaultMetrics({ register: registry });
  const started = new Counter({
    name: "grpc_server_started_total",
    help: "RPCs started on the server.",
    labelNames: RPC_LABELS,
    registers: [registry],
  });
  const handled = new Counter({
    name: "grpc_server_handled_total",
    help: "RPCs completed on the server, by code.",
    labelNames: [...RPC_LABELS, "grpc_code"],
    registers: [registry],
  });
  const handling = new Histogram({
    name: "grpc_server_handling_seconds",
    help: "Time from an RPC's start to its end on the server.",
    labelNames: RPC_LABELS,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
    registers: [registry],
  });
  const batchSize = new Histogram({
    name: "batch_size",
    help: "Items of the batches that single calls were made into, by what is batched.",
    labelNames: ["batch"],
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    registers: [registry],
  });
  /** What has a histogram: to zero one again would forget what it counted. */
  const batched = new Set<string>();
  const expected = new Set<string>();
  return {
    registry,
    expectRpcs: (service) => {
      if (expected.has(service.typeName)) return;
      expected.add(service.typeName);
      for (const rpc of service.methods.map(rpcLabels)) {
        started.inc({ ...rpc }, 0);
        for (const grpc_code of CODES) handled.inc({ ...rpc, grpc_code }, 0);
        handling.zero({ ...rpc });
      }
    },
    batches: (batch) => {
      if (!batched.has(batch)) batchSize.zero({ batch });
      batched.add(batch);
      return (size) => batchSize.observe({ batch }, size);
    },
    rpcStarted: (rpc) => started.inc({ ...rpc }),
    rpcHandled: (rpc, code, seconds) => {
      handled.inc({ ...rpc, grpc_code: code });
      handling.observe({ ...rpc }, seconds);
    },
  };
}
