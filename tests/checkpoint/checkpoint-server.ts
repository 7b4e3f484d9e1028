import { CheckpointService } from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { type Identity, LOCAL_IDENTITY, LOCAL_TENANT } from "../../runtime/call-context.js";
import { type Clock, systemClock } from "../../runtime/clock.js";
import { mount, startGrpcServer } from "../../runtime/grpc-server.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import { serverInterceptors } from "../../runtime/server-interceptors.js";
import { Cleaning } from "../../services/checkpoint/cleaning.js";
import { checkpointHandlers } from "../../services/checkpoint/handlers.js";
import { SegmentReader } from "../../services/checkpoint/segment-reader.js";
import type { CheckpointStore } from "../../services/checkpoint/store.js";
import { ThreadQuota } from "../../services/checkpoint/thread-quota.js";

export interface CheckpointServer {
  /** host:port */
  readonly address: string;
  readonly cleaning: Cleaning;
  /** Ends the server; the store is the caller's. */
  stop(): Promise<void>;
}

/** The checkpoint service on a store, over real gRPC, without rounds of cleaning. Its callers' tenant is the header x-tenant. */
export async function serveCheckpoints(
  store: CheckpointStore,
  options: { clock?: Clock; maxCheckpoints?: number } = {},
): Promise<CheckpointServer> {
  const clock = options.clock ?? systemClock;
  const cleaning = new Cleaning({
    store,
    clock,
    logger: silentLogger,
    maxCheckpoints: options.maxCheckpoints ?? 0,
    intervalMs: 60_000,
  });
  const stopping = new AbortController();
  const handlers = checkpointHandlers({
    store,
    segments: new SegmentReader(store, { maxBytes: 16_000_000 }),
    quota: new ThreadQuota({ store, clock, limit: 0 }),
    clock,
    onPut: (thread, count) => cleaning.notice(thread, count),
    stopping: stopping.signal,
  });
  const identify = (header: Headers): Identity => ({ ...LOCAL_IDENTITY, tenant: header.get("x-tenant") ?? LOCAL_TENANT });
  const server = await startGrpcServer({
    host: "127.0.0.1",
    port: 0,
    services: [mount(CheckpointService, handlers)],
    interceptors: serverInterceptors({ logger: silentLogger, metrics: createMetrics(), clock, security: { identify } }),
  });
  return {
    address: server.address,
    cleaning,
    async stop() {
      stopping.abort();
      await server.drain(1000);
      await cleaning.stop();
    },
  };
}
