import { durationMs } from "@bufbuild/protobuf/wkt";
import type { QuotaShare } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import type { RateLimitDecision } from "./decision.js";

const MAX_WANT = 1_000_000;
/** How much larger the share after one that was used up soon is. */
const GROWTH = 4;
/** A share that was used up sooner than this was too small, in milliseconds. */
const SOON_MS = 250;
/** Shares from this size on are followed by the next before they are used up. */
const WORTH_AHEAD = 4;
/** How long a refusal or a pass without a limit is believed: tokens may come back and limits change, in milliseconds. */
const BELIEVE_MS = 1_000;

/** What shares of keys are usually used for: a key that is new gets as much as others needed. */
export class Demand {
  #typical = 1;

  /** Tokens to ask for first. */
  get typical(): number {
    return Math.round(this.#typical);
  }

  /** A key needed so many tokens until it was quiet for a while. */
  learn(tokens: number): void {
    this.#typical += (Math.max(1, tokens) - this.#typical) / 16;
  }
}

/** What this caller holds and knows of one key's quota. All times are monotonic milliseconds. */
export class Quota {
  readonly key: string;
  /** The call for more that is under way. */
  asking: Promise<void> | undefined;
  /** Whether requests are refused while nobody can be asked; undefined until the service has said it. */
  failClosed: boolean | undefined;
  /** When tokens were used last. */
  usedAt = 0;
  /** When the share ends. */
  endsAt = 0;
  readonly #demand: Demand;
  #tokens = 0;
  #spent = 0;
  /** Tokens spent of the shares before, as long as each followed the last one soon. */
  #used = 0;
  #givenAt = 0;
  /** Whether the share was as large as wanted. */
  #full = false;
  /** How many to ask for next. */
  #want: number;
  /** Tokens that were left for others. */
  #left = 0;
  /** Costs of those that wait for the call under way. */
  #pending = 0;
  /** At so many tokens it is time for more; below none, never. */
  #low = -1;
  /** What holds for every request until then, such as that there is no limit. */
  #standing: { decision: RateLimitDecision; until: number } | undefined;
  /** What holds for requests of this cost: when they can pass, and until when that is believed. */
  #refusal: { cost: number; passesAt: number; until: number } | undefined;

  constructor(key: string, demand: Demand) {
    this.key = key;
    this.#demand = demand;
    this.#want = demand.typical;
  }

  /** The decision, when it can be made here. */
  decide(cost: number, now: number): RateLimitDecision | undefined {
    if (this.spend(cost, now)) return { allowed: true, waitMs: 0, remaining: this.#left + this.#tokens, degraded: false };
    if (this.#standing !== undefined && now < this.#standing.until) return this.#standing.decision;
    const refusal = this.#refusal;
    if (refusal === undefined || refusal.cost !== cost || now >= refusal.until) return undefined;
    return this.#refused(refusal.passesAt - now);
  }

  /** Takes the cost from the share, when it has it. */
  spend(cost: number, now: number): boolean {
    if (!this.holds(now) || this.#tokens < cost) return false;
    this.#tokens -= cost;
    this.#spent += cost;
    this.usedAt = now;
    return true;
  }

  /** Whether the share is about to be used up soon after it was given: time to ask for the next one, before anybody waits for it. */
  runsLow(now: number): boolean {
    return this.#tokens <= this.#low && this.asking === undefined && now - this.#givenAt < SOON_MS;
  }

  /** Whether there are tokens in the share. */
  holds(now: number): boolean {
    if (now >= this.endsAt) this.#tokens = 0;
    return this.#tokens > 0;
  }

  /** Waits for a call under way, as one of those for whom it should bring enough. */
  async waitFor<T>(asking: Promise<T>, cost: number): Promise<T> {
    this.#pending += cost;
    try {
      return await asking;
    } finally {
      this.#pending -= cost;
    }
  }

  /** What to ask for when the share does not have `cost`. */
  need(cost: number, now: number): { cost: number; want: number; carry: number } {
    if (this.#spent > 0) {
      if (now - this.#givenAt >= SOON_MS) this.#rest();
      // A share that the limit made small says nothing about what is needed.
      else if (this.#full) this.#want = this.#spent * GROWTH;
      this.#used += this.#spent;
      this.#spent = 0;
    }
    const carry = this.holds(now) ? this.#tokens : 0;
    return { cost, want: Math.min(MAX_WANT, Math.max(this.#want, cost + this.#pending)), carry };
  }

  /** Empties the share, to give it back. */
  giveUp(now: number): number {
    const returned = this.holds(now) ? this.#tokens : 0;
    this.#tokens = 0;
    this.#rest();
    return returned;
  }

  /** Takes over a share that was asked for with `cost`. */
  take(share: QuotaShare, cost: number, endsAt: number, now: number): void {
    const carried = this.holds(now) ? this.#tokens : 0;
    this.failClosed = share.failClosed;
    this.#left = Number(share.remaining);
    this.#tokens = carried + share.granted;
    this.#full = share.granted >= this.#want;
    this.#spent = 0;
    this.#givenAt = now;
    // Small shares are of quiet keys, and where nothing is left nothing is to be had.
    this.#low = this.#left > 0 && this.#tokens >= WORTH_AHEAD ? Math.floor(this.#tokens / 4) : -1;
    this.endsAt = endsAt;
    this.#standing = undefined;
    this.#refusal = undefined;
    if (share.unlimited || share.degraded) {
      const remaining = share.unlimited ? Number.POSITIVE_INFINITY : 0;
      this.#standing = { decision: { allowed: true, waitMs: 0, remaining, degraded: share.degraded }, until: now + BELIEVE_MS };
    } else if (share.wait !== undefined) {
      const waitMs = durationMs(share.wait);
      this.#refusal = { cost, passesAt: now + waitMs, until: now + Math.min(waitMs, BELIEVE_MS) };
    }
  }

  #refused(waitMs: number): RateLimitDecision {
    return { allowed: false, waitMs: Math.ceil(waitMs), remaining: this.#left + this.#tokens, degraded: false };
  }

  /** The shares that followed each other soon are over: the next is of as many tokens as were spent of the last. */
  #rest(): void {
    this.#want = Math.max(1, this.#spent);
    this.#demand.learn(this.#used + this.#spent);
    this.#used = 0;
    this.#spent = 0;
  }
}
