import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Decision, type QuotaShare, QuotaShareSchema } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import type { Identity } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import type { BucketOp, BucketOutcome } from "./bucket.js";
import { degradedDecision, toDecision, toShare, unlimitedDecision } from "./decision.js";
import { type Limit, largestCost } from "./limit.js";
import { bucketEmpty, costAboveCapacity, shuttingDown, storeUnavailable, tooManyWaiters } from "./limit-errors.js";
import type { LimitChoice, Limits } from "./limits.js";
import { bucketKey, type BucketStore, StoreUnavailableError } from "./store.js";

export interface LimiterOptions {
  store: BucketStore;
  /** The limits that hold now. */
  limits: () => Limits;
  clock: Clock;
  /** Aborts when the service stops: those who wait are sent away at once. */
  stopping: AbortSignal;
}

export interface AcquireOptions {
  /** 1 (critical) to 4 (low). */
  priority: number;
  maxWaitMs: number;
  /** Gives the place up. */
  signal: AbortSignal;
}

/** What a caller did with its share of a key's quota, and what it wants. */
export interface ShareRequest {
  holder: string;
  sequence: number;
  key: string;
  cost: number;
  want: number;
  carry: number;
  returned: number;
}

/** How often a waiter looks again at the latest: tokens may come back early, and a silent waiter loses its place. */
const LOOK_AGAIN_MS = 1_000;

/** Decides for the keys of all tenants by the limits that hold. */
export class Limiter {
  readonly #options: LimiterOptions;

  constructor(options: LimiterOptions) {
    this.#options = options;
  }

  /** Takes the cost now or not at all. Throws COST_ABOVE_CAPACITY, and RATE_LIMIT_UNAVAILABLE for a fail-closed limit. */
  check(identity: Identity, key: string, cost: number): Promise<Decision> {
    return this.#decide(identity, key, { kind: "take", cost });
  }

  /** What a check would be told. */
  peek(identity: Identity, key: string, cost: number): Promise<Decision> {
    return this.#decide(identity, key, { kind: "peek", cost });
  }

  /**
   * Waits for the cost by priority, then by arrival. Throws RESOURCE_EXHAUSTED with the wait as soon as that is known to
   * be longer than allowed.
   */
  async acquire(identity: Identity, key: string, cost: number, options: AcquireOptions): Promise<{ decision: Decision; waitedMs: number }> {
    const { clock, stopping } = this.#options;
    const started = clock.monotonic();
    const waitedMs = () => clock.monotonic() - started;
    const signal = AbortSignal.any([options.signal, stopping]);
    const ticket = randomBytes(6).toString("base64url");
    let kept = false;
    try {
      for (;;) {
        const limit = this.#limitOf(identity, key, cost);
        if (limit === "unlimited") return { decision: unlimitedDecision(), waitedMs: waitedMs() };
        const maxWaitMs = options.maxWaitMs - waitedMs();
        const outcome = await this.#ask(identity, key, limit, { kind: "wait", ticket, cost, priority: options.priority, maxWaitMs });
        kept = outcome?.verdict === "waiting";
        if (outcome === undefined) return { decision: degradedDecision(), waitedMs: waitedMs() };
        if (outcome.verdict === "allowed") return { decision: toDecision(limit, outcome), waitedMs: waitedMs() };
        if (outcome.verdict === "crowded") throw tooManyWaiters(outcome.waitMs);
        if (outcome.verdict === "refused") throw bucketEmpty(outcome.waitMs);
        await clock.sleep(Math.min(Math.ceil(outcome.waitMs), LOOK_AGAIN_MS), signal);
      }
    } catch (error) {
      if (kept) await this.#leave(identity, key, cost, ticket);
      if (stopping.aborted) throw shuttingDown();
      throw error;
    }
  }

  /** Settles a caller's old share and gives it a new one. Throws as `check` does. */
  async lease(identity: Identity, request: ShareRequest): Promise<QuotaShare> {
    const { holder, sequence, key, cost, carry, returned } = request;
    const limit = this.#limitOf(identity, key, cost);
    if (limit === "unlimited") return create(QuotaShareSchema, { unlimited: true });
    const want = Math.max(cost, request.want);
    const outcome = await this.#ask(identity, key, limit, { kind: "lease", holder, sequence, cost, want, carry, returned });
    return outcome === undefined ? create(QuotaShareSchema, { degraded: true }) : toShare(limit, outcome);
  }

  async #decide(identity: Identity, key: string, op: Extract<BucketOp, { kind: "take" | "peek" }>): Promise<Decision> {
    const limit = this.#limitOf(identity, key, op.cost);
    if (limit === "unlimited") return unlimitedDecision();
    const outcome = await this.#ask(identity, key, limit, op);
    return outcome === undefined ? degradedDecision() : toDecision(limit, outcome);
  }

  #limitOf(identity: Identity, key: string, cost: number): LimitChoice {
    const limit = this.#options.limits().of(identity, key);
    if (limit !== "unlimited" && cost > largestCost(limit)) throw costAboveCapacity("cost", cost, largestCost(limit));
    return limit;
  }

  /** Undefined when the store does not answer and the limit is fail-open. */
  async #ask(identity: Identity, key: string, limit: Limit, op: BucketOp): Promise<BucketOutcome | undefined> {
    try {
      return await this.#options.store.decide(bucketKey(identity.tenant, key), limit, op);
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      if (limit.onFailure === "open") return undefined;
      throw storeUnavailable(error);
    }
  }

  /** A place that cannot be given up is lost to its silence soon. */
  async #leave(identity: Identity, key: string, cost: number, ticket: string): Promise<void> {
    const limit = this.#limitOf(identity, key, cost);
    if (limit !== "unlimited") await this.#ask(identity, key, limit, { kind: "leave", ticket }).catch(() => undefined);
  }
}
