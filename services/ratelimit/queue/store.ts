/** A queue's name and limits. */
export interface QueueSettings {
  readonly name: string;
  /** Most items of all tenants, and of one: waiting, delayed and in flight. */
  readonly maxDepth: number;
  readonly maxTenantDepth: number;
  /** Deliveries after which an item is dropped. */
  readonly maxAttempts: number;
  /**
   * An item is overdue when it has waited so long for each step that its priority is below CRITICAL: HIGH once, NORMAL
   * twice, LOW three times, in milliseconds.
   */
  readonly ageingMs: number;
}

/** Of so many deliveries one goes to overdue items, while there are any. */
export const OVERDUE_TURN = 4;
/** Most items of one dequeue. */
export const MAX_DEQUEUED = 64;
/** How long an idempotency key is remembered, in milliseconds. */
export const IDEMPOTENCY_MS = 86_400_000;

export interface NewItem {
  tenant: string;
  /** 1 (critical) to 4 (low). */
  priority: number;
  payload: Uint8Array;
  ttlMs: number;
  /** Empty for none. */
  idempotencyKey: string;
}

export interface DeliveredItem {
  id: string;
  tenant: string;
  priority: number;
  payload: Uint8Array;
  /** Milliseconds since the Unix epoch. */
  enqueuedAt: number;
  attempt: number;
}

export type EnqueueOutcome = { id: string } | { full: "queue" | "tenant" };

/** `unknown`: no such item. `lost`: another worker's, or nobody's, by now. */
export type HeldOutcome = "done" | "dropped" | "lost" | "unknown";

export interface QueueCounts {
  /** For priorities 1 to 4. */
  waiting: { depth: number; oldestAgeMs: number }[];
  delayed: number;
  inFlight: number;
  enqueued: number;
  acknowledged: number;
  redelivered: number;
  expired: number;
  dead: number;
  cancelled: number;
}

/**
 * The items of all queues. Every method first does what time has brought: leases and delays that have ended, items that
 * nobody took. All reject with StoreUnavailableError when the backend cannot say.
 */
export interface QueueStore {
  enqueue(queue: QueueSettings, item: NewItem): Promise<EnqueueOutcome>;
  /**
   * Hands items to a worker under the name `lease`, until it holds `maxInFlight`. `nextMs` is the time until a lease or a
   * delay ends; undefined when nothing waits for time.
   */
  dequeue(
    queue: QueueSettings,
    worker: string,
    lease: string,
    maxInFlight: number,
    leaseMs: number,
  ): Promise<{ items: DeliveredItem[]; nextMs: number | undefined }>;
  ack(queue: QueueSettings, id: string, lease: string): Promise<HeldOutcome>;
  nack(queue: QueueSettings, id: string, lease: string, delayMs: number): Promise<HeldOutcome>;
  extend(queue: QueueSettings, id: string, lease: string, leaseMs: number): Promise<HeldOutcome>;
  /** Removes an item of a tenant; another one's is unknown. */
  cancel(queue: QueueSettings, tenant: string, id: string): Promise<"waiting" | "in_flight" | "unknown">;
  counts(queue: QueueSettings): Promise<QueueCounts>;
  /** Calls `changed` when there may be something to dequeue, from any replica. It may be called for nothing, or missed. Returns the end of it. */
  watch(queue: QueueSettings, changed: () => void): () => void;
  close(): Promise<void>;
}
