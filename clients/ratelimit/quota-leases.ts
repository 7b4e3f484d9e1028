import { randomBytes } from "node:crypto";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code } from "@connectrpc/connect";
import { LRUCache } from "lru-cache";
import type { RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import type { QuotaShare } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import type { Identity } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { coalesce } from "../../runtime/coalesce.js";
import { hasCode } from "../../runtime/errors.js";
import { fromStatus } from "../../runtime/grpc-status.js";
import { asIdentity } from "./as-identity.js";
import { checkRequest } from "./check-request.js";
import { isUnavailable, type RateLimitDecision, withoutLimiter } from "./decision.js";
import { Demand, Quota } from "./quota.js";

export interface QuotaLeasesOptions {
  client: Client<typeof RateLimitService>;
  identity: Identity | undefined;
  clock: Clock;
  /** Silence after which a call counts as failed, in milliseconds. */
  patienceMs: number;
  /** Whether requests pass while the service is away, for limits whose own choice is not known. */
  open: boolean;
}

interface Ask {
  quota: Quota;
  /** 0 for giving the share back. */
  cost: number;
}

interface Answer {
  share: QuotaShare;
  /** When the share ends. */
  endsAt: number;
}

const MAX_BATCH = 500;
/** A share is not used in its last moments: this clock and the store's may run apart by a little, in milliseconds. */
const MARGIN_MS = 20;
const MAX_KEYS = 100_000;
/** Keys that are surely right, without asking the schema's rules. */
const PLAIN_KEY = /^[\x20-\x7e]{1,256}$/;
/** Shares that nobody used for so long go back, in milliseconds. */
const IDLE_MS = 500;
/** A service that failed is not asked for so long, so that requests do not wait for it one after the other, in milliseconds. */
const REST_MS = 500;

/**
 * Shares of the quotas of one identity. Requests are decided here while the share of their key lasts; where it is used up
 * or has ended, one of them asks for the next and the others wait for it.
 */
export class QuotaLeases {
  readonly #options: QuotaLeasesOptions;
  readonly #holder = randomBytes(6).toString("base64url");
  readonly #quotas = new LRUCache<string, Quota>({ max: MAX_KEYS, dispose: (quota) => void this.#giveBack(quota) });
  /** Those that may have tokens to give back. */
  readonly #holding = new Set<Quota>();
  readonly #demand = new Demand();
  readonly #ask: (ask: Ask) => Promise<Answer>;
  #sequence = 0;
  #sweeping: NodeJS.Timeout | undefined;
  #failure: { error: unknown; until: number } | undefined;

  constructor(options: QuotaLeasesOptions) {
    this.#options = options;
    this.#ask = coalesce((asks) => asIdentity(options.identity, () => this.#send(asks)), { maxBatch: MAX_BATCH });
  }

  /** The decision, when it can be made here without asking. */
  decideHere(key: string, cost: number): RateLimitDecision | undefined {
    // Moving it to the front of those that are kept costs more than the decision: asking for its next share does so.
    const quota = this.#quotas.peek(key);
    if (quota === undefined || !Number.isInteger(cost) || cost < 1) return undefined;
    const now = this.#options.clock.monotonic();
    const decision = quota.decide(cost, now);
    // What comes of it shows when it is needed.
    if (quota.runsLow(now)) this.#askForMore(quota, 1).catch(() => {});
    return decision;
  }

  /** Takes the cost when it is there. Rejects only when the request is wrong, such as a cost that can never pass. */
  async take(key: string, cost: number): Promise<RateLimitDecision> {
    if (!Number.isInteger(cost) || cost < 1) checkRequest(key, cost);
    const quota = this.#quotas.get(key) ?? this.#newQuota(key);
    for (;;) {
      const decision = quota.decide(cost, this.#options.clock.monotonic());
      if (decision !== undefined) return decision;
      const mine = quota.asking === undefined;
      try {
        await (mine ? this.#askForMore(quota, cost) : quota.waitFor(quota.asking!, cost));
      } catch (error) {
        // What is wrong with the request for which more was asked says nothing about the others.
        if (!mine && !isUnavailable(error)) continue;
        return withoutLimiter(error, quota.failClosed === undefined ? this.#options.open : !quota.failClosed);
      }
    }
  }

  /** Takes the cost from the share held here, without asking for more. */
  takeHeld(key: string, cost: number): boolean {
    return this.#quotas.peek(key)?.spend(cost, this.#options.clock.monotonic()) ?? false;
  }

  /** Gives shares back that were not used for a while or are about to end: what they still hold would count as spent. */
  returnIdle(): void {
    const now = this.#options.clock.monotonic();
    for (const quota of this.#holding) {
      if (quota.asking !== undefined) continue;
      if (now - quota.usedAt >= IDLE_MS || quota.endsAt - now <= IDLE_MS) void this.#giveBack(quota);
    }
    if (this.#holding.size > 0) return;
    clearInterval(this.#sweeping);
    this.#sweeping = undefined;
  }

  /** Gives all shares back. */
  async close(): Promise<void> {
    clearInterval(this.#sweeping);
    await Promise.all([...this.#holding].map((quota) => this.#giveBack(quota)));
  }

  #newQuota(key: string): Quota {
    if (!PLAIN_KEY.test(key)) checkRequest(key, 1);
    const quota = new Quota(key, this.#demand);
    this.#quotas.set(key, quota);
    return quota;
  }

  /** Gets the next share of a quota for which nobody is asking. */
  #askForMore(quota: Quota, cost: number): Promise<void> {
    this.#quotas.get(quota.key);
    quota.asking = this.#ask({ quota, cost })
      .then(({ share, endsAt }) => {
        if (share.error !== undefined) throw fromStatus(share.error);
        const now = this.#options.clock.monotonic();
        quota.take(share, cost, endsAt, now);
        if (!quota.holds(now)) return;
        this.#holding.add(quota);
        this.#sweeping ??= setInterval(() => this.returnIdle(), IDLE_MS / 2).unref();
      })
      .finally(() => {
        quota.asking = undefined;
      });
    return quota.asking;
  }

  async #giveBack(quota: Quota): Promise<void> {
    this.#holding.delete(quota);
    if (quota.asking !== undefined) return;
    const now = this.#options.clock.monotonic();
    if (!quota.holds(now)) {
      quota.giveUp(now);
      return;
    }
    // A share that cannot be given back counts as spent.
    const given = this.#ask({ quota, cost: 0 }).then(
      () => undefined,
      () => undefined,
    );
    quota.asking = given.finally(() => {
      quota.asking = undefined;
    });
    await quota.asking;
  }

  async #send(asks: Ask[]): Promise<Answer[]> {
    const { client, clock, patienceMs } = this.#options;
    const askedAt = clock.monotonic();
    if (this.#failure !== undefined && askedAt < this.#failure.until) throw this.#failure.error;
    const shares = asks.map(({ quota, cost }) =>
      cost > 0
        ? { key: quota.key, ...quota.need(cost, askedAt) }
        : { key: quota.key, returned: quota.giveUp(askedAt) },
    );
    const call = async () => {
      this.#sequence += 1;
      const request = { holder: this.#holder, sequence: BigInt(this.#sequence), shares };
      return client.leaseQuota(request, { timeoutMs: patienceMs });
    };
    try {
      // When a replica goes away another one answers. What the first may have given counts as spent.
      const { shares: given, ttl } = await call().catch((error: unknown) => (hasCode(error, Code.Unavailable) ? call() : Promise.reject(error)));
      this.#failure = undefined;
      const endsAt = askedAt + (ttl === undefined ? 0 : durationMs(ttl)) - MARGIN_MS;
      return given.map((share) => ({ share, endsAt }));
    } catch (error) {
      if (isUnavailable(error)) this.#failure = { error, until: clock.monotonic() + REST_MS };
      throw error;
    }
  }
}
