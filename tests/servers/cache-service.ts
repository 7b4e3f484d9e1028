import type { ServiceImpl } from "@connectrpc/connect";
import { onTestFinished } from "vitest";
import { CacheService } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { type Clock, systemClock } from "../../runtime/clock.js";
import { type GrpcServer, mount, startGrpcServer } from "../../runtime/grpc-server.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import { serverInterceptors } from "../../runtime/server-interceptors.js";
import { loadCacheConfig } from "../../services/cache/config.js";
import { cacheHandlers } from "../../services/cache/handlers.js";
import { openMemoryStore } from "../../services/cache/store-memory.js";
import type { CacheStore } from "../../services/cache/store.js";
import { WatchHub } from "../../services/cache/watch.js";

type Handlers = ServiceImpl<typeof CacheService>;

/** A cache service in this process whose parts a test can reach. */
export interface TestCacheService {
  readonly address: string;
  readonly store: CacheStore;
  /** How often each RPC was called; for streamGet, how many requests came. */
  readonly calls: Record<string, number>;
  stop(): Promise<void>;
}

/** Starts the service on a memory store, with `change` in the place of some handlers. Stops with the test. */
export async function startTestCache(
  options: { env?: NodeJS.ProcessEnv; port?: number; clock?: Clock; store?: CacheStore; change?: (handlers: Handlers) => Partial<Handlers> } = {},
): Promise<TestCacheService> {
  const clock = options.clock ?? systemClock;
  const config = loadCacheConfig(options.env ?? {});
  const store = options.store ?? openMemoryStore({ maxBytes: config.maxBytes, clock });
  const watchers = new WatchHub({ store, clock });
  const handlers = cacheHandlers({ store, watchers, config });
  const calls: Record<string, number> = {};
  const implementation = counted({ ...handlers, ...options.change?.(handlers) }, calls);
  const server: GrpcServer = await startGrpcServer({
    host: "127.0.0.1",
    port: options.port ?? 0,
    services: [mount(CacheService, implementation)],
    interceptors: serverInterceptors({ logger: silentLogger, metrics: createMetrics(), clock }),
  });
  let stopping: Promise<void> | undefined;
  const stop = () => {
    watchers.close();
    return (stopping ??= server.drain(200));
  };
  onTestFinished(stop);
  return { address: server.address, store, calls, stop };
}

function counted(handlers: Handlers, calls: Record<string, number>): Handlers {
  const count = (name: string) => (calls[name] = (calls[name] ?? 0) + 1);
  const wrapped = Object.entries(handlers).map(([name, handler]) => {
    const call = handler as (request: unknown, ...rest: unknown[]) => unknown;
    if (name !== "streamGet") {
      return [
        name,
        (...given: [unknown]) => {
          count(name);
          return call(...given);
        },
      ];
    }
    async function* each(requests: AsyncIterable<unknown>) {
      for await (const request of requests) {
        count(name);
        yield request;
      }
    }
    return [name, (requests: AsyncIterable<unknown>, ...rest: unknown[]) => call(each(requests), ...rest)];
  });
  return Object.fromEntries(wrapped) as Handlers;
}
