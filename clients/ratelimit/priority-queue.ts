import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { QueueService } from "../../gen/ragents/ratelimit/v1/queue_service_pb.js";
import { Priority } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import { channelSecurity, type ClientSecurityOptions } from "../../runtime/channel-security.js";
import { type Clock, systemClock } from "../../runtime/clock.js";
import { createGrpcTransport, type GrpcTransport } from "../../runtime/grpc-transport.js";
import { QueueWorker, type WorkHandler, type WorkOptions } from "./queue-worker.js";
import type { RequestPriority } from "./rate-limiter.js";

export interface PriorityQueueOptions extends ClientSecurityOptions {
  /** Where the service is: host:port, or dns:///name:port for every replica of it. Default 127.0.0.1:9103. */
  address?: string;
  /** Takes the place of the address; its owner closes it. */
  transport?: Transport;
  /** The queue's name. Default "default". */
  queue?: string;
  clock?: Clock;
}

export interface EnqueueOptions {
  /** Default NORMAL. */
  priority?: RequestPriority;
  /** The item is dropped when no worker has taken it by then, in milliseconds. Default one hour. */
  ttl?: number;
  /** A repeated call with the same key within a day answers the first one's item. */
  idempotencyKey?: string;
}

export interface QueueStats {
  /** Items that wait, and how long the oldest of them has, in milliseconds. */
  waiting: Record<RequestPriority, { depth: number; oldestAgeMs: number }>;
  delayed: number;
  inFlight: number;
  enqueued: number;
  acknowledged: number;
  redelivered: number;
  expired: number;
  dead: number;
  cancelled: number;
}

const DEFAULT_ADDRESS = "127.0.0.1:9103";

/**
 * A queue that all processes of the mesh share. Producers put items in for the tenant of the current call; workers, which
 * are services of the mesh, get each of them at least once, the most important first. It connects when it is first used.
 */
export class PriorityQueue {
  readonly #client: Client<typeof QueueService>;
  readonly #transport: GrpcTransport | undefined;
  readonly #queue: string;
  readonly #clock: Clock;

  constructor(options: PriorityQueueOptions = {}) {
    if (options.transport === undefined) {
      this.#transport = createGrpcTransport({
        address: options.address ?? DEFAULT_ADDRESS,
        services: [QueueService],
        security: channelSecurity(options),
      });
    }
    this.#client = createClient(QueueService, (options.transport ?? this.#transport)!);
    this.#queue = options.queue ?? "default";
    this.#clock = options.clock ?? systemClock;
  }

  /** Puts an item in and resolves to its id. Rejects with RESOURCE_EXHAUSTED when the queue is full. */
  async enqueue(payload: Uint8Array | string, options: EnqueueOptions = {}): Promise<string> {
    const { item } = await this.#client.enqueue({
      queue: this.#queue,
      payload: typeof payload === "string" ? new TextEncoder().encode(payload) : payload,
      priority: Priority[options.priority ?? "NORMAL"],
      ...(options.ttl !== undefined && { ttl: durationFromMs(options.ttl) }),
      ...(options.idempotencyKey !== undefined && { idempotencyKey: options.idempotencyKey }),
    });
    return item;
  }

  /** Removes an item of the current call's tenant; resolves to whether a worker had it, which is then told. Rejects with NOT_FOUND. */
  async cancel(id: string): Promise<boolean> {
    return (await this.#client.cancel({ queue: this.#queue, item: id })).inFlight;
  }

  async stats(): Promise<QueueStats> {
    const { waiting, $typeName: _, $unknown: __, ...counts } = await this.#client.stats({ queue: this.#queue });
    const byPriority = waiting.map(({ priority, depth, oldestAge }) => [
      Priority[priority],
      { depth: Number(depth), oldestAgeMs: oldestAge === undefined ? 0 : durationMs(oldestAge) },
    ]);
    const numbers = Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, Number(count)]));
    return { waiting: Object.fromEntries(byPriority), ...numbers } as unknown as QueueStats;
  }

  /**
   * Works on items until `options.signal` aborts and what is under way has ended. An item is done when `handler` resolves; it
   * is given back when `handler` rejects, and goes to another worker when this process dies. `handler` runs for the item's
   * tenant, and its signal aborts when the item is not this worker's any more. Survives restarts of the service.
   */
  work(handler: WorkHandler, options: WorkOptions): Promise<void> {
    return new QueueWorker(this.#client, this.#queue, this.#clock, handler, options).run();
  }

  close(): void {
    this.#transport?.close();
  }
}
