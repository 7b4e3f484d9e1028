import type { RateLimitDecision } from "./decision.js";

/** A share of a key's quota as the service gave it. */
export interface GivenShare {
  granted: number;
  ttlMs: number;
  decision: RateLimitDecision;
  unlimited: boolean;
  failClosed: boolean;
}

const MAX_WANT = 1_000_000;
/** A share is not used in its last moments: this clock and the store's may run apart by a little, in milliseconds. */
const MARGIN_MS = 20;
/** A share that was used up sooner than this was too small, in milliseconds. */
const SOON_MS = 250;
/** How long a refusal or a pass without a limit is believed: tokens may come back and limits change, in milliseconds. */
const BELIEVE_MS = 1_000;

/** What this caller holds and knows of one key's quota. All times are monotonic milliseconds. */
export class Quota {
  readonly key: string;
  /** The call for more that is under way. */
  asking: Promise<RateLimitDecision | undefined> | undefined;
  /** Whether requests are refused while nobody can be asked; undefined until the service has said it. */
  failClosed: boolean | undefined;
  /** When tokens were used last. */
  usedAt = 0;
  #tokens = 0;
  #endsAt = 0;
  #givenAt = 0;
  /** Tokens of the share when it was given, and how many to ask for when it is used up. */
  #size = 0;
  #want = 1;
  /** Tokens that were left for everyone. */
  #left = 0;
  /** Costs of those that wait for the call under way. */
  #pending = 0;
  /** What holds for every request until then, such as that there is no limit. */
  #standing: { decision: RateLimitDecision; until: number } | undefined;
  /** What holds for requests of this cost: when they can pass, and until when that is believed. */
  #refusal: { cost: number; passesAt: number; until: number } | undefined;

  constructor(key: string) {
    this.key = key;
  }

  /** The decision, when it can be made here. */
  decide(cost: number, now: number): RateLimitDecision | undefined {
    if (this.spend(cost, now)) return { allowed: true, waitMs: 0, remaining: this.#left + this.#tokens, degraded: false };
    if (this.#standing !== undefined && now < this.#standing.until) return this.#standing.decision;
    const refusal = this.#refusal;
    if (refusal === undefined || refusal.cost !== cost || now >= refusal.until) return undefined;
    return { allowed: false, waitMs: Math.ceil(refusal.passesAt - now), remaining: this.#left + this.#tokens, degraded: false };
  }

  /** Takes the cost from the share, when it has it. */
  spend(cost: number, now: number): boolean {
    if (!this.holds(now) || this.#tokens < cost) return false;
    this.#tokens -= cost;
    this.usedAt = now;
    return true;
  }

  /** Whether there are tokens in the share. */
  holds(now: number): boolean {
    if (now >= this.#endsAt) this.#tokens = 0;
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
    const carry = this.holds(now) ? this.#tokens : 0;
    const usedUpSoon = this.#size > 0 && now - this.#givenAt < SOON_MS;
    if (usedUpSoon) this.#want = 2 * this.#size;
    return { cost, want: Math.min(MAX_WANT, Math.max(this.#want, cost + this.#pending)), carry };
  }

  /** Empties the share, to give it back. */
  giveUp(now: number): number {
    const returned = this.holds(now) ? this.#tokens : 0;
    this.#tokens = 0;
    this.#want = Math.max(1, this.#size - returned);
    this.#size = 0;
    return returned;
  }

  /** Takes a share over that was asked for at `askedAt`. Decides the request for which it was, unless the share has ended already. */
  take(share: GivenShare, cost: number, askedAt: number, now: number): RateLimitDecision | undefined {
    this.failClosed = share.failClosed;
    this.#left = share.decision.remaining;
    this.#standing = share.unlimited || share.decision.degraded ? { decision: share.decision, until: now + BELIEVE_MS } : undefined;
    const refused = !share.decision.allowed;
    this.#refusal = refused
      ? { cost, passesAt: now + share.decision.waitMs, until: now + Math.min(share.decision.waitMs, BELIEVE_MS) }
      : undefined;
    this.#tokens = (this.holds(now) ? this.#tokens : 0) + share.granted;
    this.#endsAt = askedAt + share.ttlMs - MARGIN_MS;
    this.#givenAt = now;
    this.#size = this.#tokens;
    return share.granted === 0 ? share.decision : this.decide(cost, now);
  }
}
