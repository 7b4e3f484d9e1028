import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { Priority } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import { currentCall, type Identity } from "../../runtime/call-context.js";
import { channelSecurity, type ClientSecurityOptions } from "../../runtime/channel-security.js";
import { type Clock, systemClock } from "../../runtime/clock.js";
import { createGrpcTransport, type GrpcTransport } from "../../runtime/grpc-transport.js";
import { inSpan, isTraced } from "../../runtime/tracing/tracer.js";
import { PerIdentity } from "./as-identity.js";
import { BatchedChecks } from "./batched-checks.js";
import { type BudgetAmounts, type BudgetReservation, reserveBudget, type ReserveOptions } from "./budget-reservation.js";
import { fromProto, isUnavailable, type LimitWindow, type RateLimitDecision, saysClosed, withoutLimiter } from "./decision.js";
import { QuotaLeases } from "./quota-leases.js";

/** Who goes first among those that wait for a key. */
export type RequestPriority = "CRITICAL" | "HIGH" | "NORMAL" | "LOW";

export interface RateLimiterOptions extends ClientSecurityOptions {
  /** Where the service is: host:port, or dns:///name:port for every replica of it. Default 127.0.0.1:9103. */
  address?: string;
  /** Takes the place of the address; its owner closes it. */
  transport?: Transport;
  /** What is decided while the service cannot be reached: requests pass ("open", the default) or are refused. */
  onUnavailable?: "open" | "closed";
  /** Silence of the service after which it counts as unreachable, in milliseconds. Default 500. */
  patienceMs?: number;
  /**
   * Whether checks of busy keys are decided here, from shares of their quotas (the default). They are never more than the
   * limit together, and may be fewer for up to two seconds while a share is unused elsewhere. Without, the service decides
   * every one.
   */
  leases?: boolean;
  clock?: Clock;
}

export interface CheckOptions {
  /** Tokens that the request takes. Default 1. */
  cost?: number;
}

export interface AcquireOptions extends CheckOptions {
  /** Default NORMAL. */
  priority?: RequestPriority;
  /** Longest time to wait, in milliseconds. Default 30,000; the current call's deadline bounds it too. */
  timeout?: number;
  /** Gives up waiting. */
  signal?: AbortSignal;
}

export type ProcessOptions = AcquireOptions;

export interface Acquired {
  /** How long it took, in milliseconds. */
  waitedMs: number;
  /** Whether the limiter could not be asked, and `onUnavailable` or the limit's own choice let it pass. */
  degraded: boolean;
}

const DEFAULT_ADDRESS = "127.0.0.1:9103";
const DEFAULT_PATIENCE_MS = 500;
const DEFAULT_TIMEOUT_MS = 30_000;
/** Time for a refusal to arrive after the longest wait, in milliseconds. */
const ANSWER_MS = 1_000;
/** Pause before a replica that went away is asked again, in milliseconds. */
const RETRY_PAUSE_MS = 100;
const MAX_ATTEMPTS = 5;

/**
 * Limits what is done by keys of the current call's tenant, together with every other process that asks the same
 * service. It connects when it is first used.
 */
export class RateLimiter {
  readonly #client: Client<typeof RateLimitService>;
  readonly #transport: GrpcTransport | undefined;
  readonly #checks: PerIdentity<BatchedChecks>;
  readonly #leases: PerIdentity<QuotaLeases> | undefined;
  readonly #clock: Clock;
  readonly #open: boolean;
  readonly #patienceMs: number;

  constructor(options: RateLimiterOptions = {}) {
    const { clock = systemClock, patienceMs = DEFAULT_PATIENCE_MS, leases = true } = options;
    const open = (options.onUnavailable ?? "open") === "open";
    if (options.transport === undefined) {
      this.#transport = createGrpcTransport({
        address: options.address ?? DEFAULT_ADDRESS,
        services: [RateLimitService],
        security: channelSecurity(options),
      });
    }
    const client = createClient(RateLimitService, (options.transport ?? this.#transport)!);
    this.#client = client;
    this.#clock = clock;
    this.#open = open;
    this.#patienceMs = patienceMs;
    this.#checks = new PerIdentity((identity) => new BatchedChecks(client, identity, patienceMs));
    if (leases) this.#leases = new PerIdentity((identity) => new QuotaLeases({ client, identity, clock, patienceMs, open }));
  }

  /** Takes the cost now when it is there. Rejects only when the request is wrong, such as a cost that can never pass. */
  check(key: string, options: CheckOptions = {}): Promise<RateLimitDecision> {
    if (!isTraced()) return this.#check(key, options);
    return inSpan("ratelimit.check", async (span) => {
      const decision = await this.#check(key, options);
      span?.set({ metadata: { allowed: decision.allowed, wait_ms: decision.waitMs } });
      return decision;
    });
  }

  #check(key: string, options: CheckOptions): Promise<RateLimitDecision> {
    const cost = options.cost ?? 1;
    const identity = currentCall()?.identity;
    const leases = this.#leases?.of(identity);
    if (leases === undefined) return this.#checkAtService(identity, key, cost);
    const decision = leases.decideHere(key, cost);
    return decision === undefined ? leases.take(key, cost) : Promise.resolve(decision);
  }

  /** The windows of the limit that holds for a key, shortest period first; none when it is unlimited. Takes nothing. */
  async windows(key: string): Promise<LimitWindow[]> {
    const { decision } = await this.#client.getLimit({ key }, { timeoutMs: this.#patienceMs });
    return (decision?.windows ?? []).map(({ period, limit, remaining }) => ({
      periodMs: period === undefined ? 0 : durationMs(period),
      limit: Number(limit),
      remaining: Number(remaining),
    }));
  }

  /**
   * Waits for the cost, by priority and then by arrival. Rejects with RESOURCE_EXHAUSTED as soon as it is known to come
   * too late, and with UNAVAILABLE when the limiter cannot be asked and the choice for that is to refuse.
   */
  acquire(key: string, options: AcquireOptions = {}): Promise<Acquired> {
    return inSpan("ratelimit.acquire", async (span) => {
      const acquired = await this.#acquire(key, options);
      span?.set({ metadata: { waited_ms: acquired.waitedMs, degraded: acquired.degraded } });
      return acquired;
    });
  }

  async #acquire(key: string, options: AcquireOptions): Promise<Acquired> {
    const started = this.#clock.monotonic();
    const waitedMs = () => this.#clock.monotonic() - started;
    const timeout = options.timeout ?? DEFAULT_TIMEOUT_MS;
    const held = this.#leases?.of(currentCall()?.identity).takeHeld(key, options.cost ?? 1) ?? false;
    if (held) return { waitedMs: 0, degraded: false };
    for (let attempt = 1; ; attempt += 1) {
      try {
        const degraded = await this.#acquireOnce(key, options, Math.max(0, timeout - waitedMs()));
        return { waitedMs: waitedMs(), degraded };
      } catch (error) {
        if (!isUnavailable(error) || currentCall()?.signal.aborted === true) throw error;
        // Waiters of a replica that stops or dies take a new place at another one.
        const retry = !saysClosed(error) && attempt < MAX_ATTEMPTS && waitedMs() + RETRY_PAUSE_MS < timeout;
        if (!retry) {
          if (withoutLimiter(error, this.#open).allowed) return { waitedMs: waitedMs(), degraded: true };
          throw error;
        }
        await this.#clock.sleep(RETRY_PAUSE_MS, options.signal);
      }
    }
  }

  /** Waits for its turn and runs `fn`; resolves to what that does. `timeout` bounds the wait, not the work. */
  async processWithRateLimit<T>(key: string, fn: () => T | Promise<T>, options: ProcessOptions = {}): Promise<T> {
    await this.acquire(key, options);
    return fn();
  }

  /**
   * Holds amounts of budgets, such as a language model's tokens, for work whose use is known only afterwards. Rejects with
   * RESOURCE_EXHAUSTED when a budget does not have its amount.
   */
  reserveBudget(key: string, amounts: BudgetAmounts, options: ReserveOptions = {}): Promise<BudgetReservation> {
    return reserveBudget(this.#client, key, amounts, { ...options, open: this.#open, patienceMs: this.#patienceMs });
  }

  /** Gives back what it holds of quotas, and ends the connection. */
  async close(): Promise<void> {
    await Promise.all((this.#leases?.all() ?? []).map((leases) => leases.close()));
    this.#transport?.close();
  }

  async #checkAtService(identity: Identity | undefined, key: string, cost: number): Promise<RateLimitDecision> {
    try {
      return fromProto(await this.#checks.of(identity).check(key, cost));
    } catch (error) {
      return withoutLimiter(error, this.#open);
    }
  }

  async #acquireOnce(key: string, { cost, priority = "NORMAL", signal }: AcquireOptions, maxWaitMs: number): Promise<boolean> {
    const request = { key, priority: Priority[priority], maxWait: durationFromMs(Math.round(maxWaitMs)), ...(cost !== undefined && { cost }) };
    const { decision } = await this.#client.acquire(request, {
      timeoutMs: Math.ceil(maxWaitMs) + ANSWER_MS,
      ...(signal !== undefined && { signal }),
    });
    return decision?.degraded ?? false;
  }

}
