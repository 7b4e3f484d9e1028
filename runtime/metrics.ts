import { collectDefaultMetrics, Counter, Histogram, Registry } from "prom-client";

/** The process's metrics. Names follow go-grpc-prometheus and Prometheus' conventions; labels never name users or threads. */
export interface Metrics {
  /** What /metrics shows. Services register their own metrics here. */
  readonly registry: Registry;
  /** A call has begun. */
  rpcStarted(rpc: RpcLabels): void;
  /** A call has ended with this gRPC code, e.g. "NotFound", after `seconds`. */
  rpcHandled(rpc: RpcLabels, code: string, seconds: number): void;
}

export interface RpcLabels {
  grpc_type: "unary" | "client_stream" | "server_stream" | "bidi_stream";
  grpc_service: string;
  grpc_method: string;
}

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
  return {
    registry,
    rpcStarted: (rpc) => started.inc({ ...rpc }),
    rpcHandled: (rpc, code, seconds) => {
      handled.inc({ ...rpc, grpc_code: code });
      handling.observe({ ...rpc }, seconds);
    },
  };
}
