import type { Limit, LimitWindow } from "./limit.js";

/**
 * The state of a key. Each window has a level: tokens that are out, draining at the window's rate. What is left is
 * capacity - level.
 *
 * Two kinds of tokens are out without having been spent, and both keep the bound "admitted in any time t is at most
 * capacity + rate x t":
 * - Leased tokens may be spent by their holder at any moment until the lease ends, so they do not drain before: a level
 *   is never below the sum of the leases.
 * - A ticket is a place among those that wait. It holds no tokens, but nobody behind it gets any before it.
 */
export interface BucketState {
  /** When the levels were true, in the store's milliseconds. */
  at: number;
  /** The windows' periods in milliseconds, and the level of each: they find each other again when the limit changes. */
  periods: number[];
  levels: number[];
  /** The lease that ends first is first. */
  leases: Lease[];
  /** In the order in which they are served. */
  tickets: Ticket[];
}

export interface Lease {
  holder: string;
  /** Of the request that made it. */
  sequence: number;
  amount: number;
  endsAt: number;
}

export interface Ticket {
  id: string;
  /** 1 (critical) to 4 (low). */
  priority: number;
  cost: number;
  seenAt: number;
}

export type BucketOp =
  /** Takes `cost` when it is there. */
  | { kind: "take"; cost: number }
  /** Looks, and changes nothing. */
  | { kind: "peek"; cost: number }
  /** Gives `cost` back: of what was taken, never more than the bucket holds. */
  | { kind: "refund"; cost: number }
  /** Takes `cost` when its turn has come; else keeps a place, if the wait is at most `maxWaitMs`. Repeated by its ticket. */
  | { kind: "wait"; ticket: string; cost: number; priority: number; maxWaitMs: number }
  /** Gives a place up. */
  | { kind: "leave"; ticket: string }
  /**
   * Settles a holder's lease and takes a new share. Of the old lease `carry` tokens stay with the holder, `returned`
   * ones come back, the others were spent. With cost 0 nothing new is taken. A request that arrives after a later one of
   * its holder (by `sequence`) changes nothing.
   */
  | { kind: "lease"; holder: string; sequence: number; cost: number; want: number; carry: number; returned: number };

export type BucketVerdict = "refused" | "allowed" | "waiting" | "crowded";

export interface BucketOutcome {
  /** `waiting` and `crowded` (too many wait already) answer a wait only. */
  verdict: BucketVerdict;
  /** Milliseconds until the cost can be taken if nobody else takes or returns tokens; 0 when allowed. */
  waitMs: number;
  /** Tokens that a lease got. */
  granted: number;
  /** The level of each window of the limit afterwards. */
  levels: number[];
}

/** How long a lease lasts, in milliseconds. */
export const LEASE_MS = 2_000;
/** A waiter that has not asked again for so long is gone, in milliseconds. */
export const TICKET_MS = 5_000;
/** Most waiters of a key, and most holders of its leases. */
export const MAX_TICKETS = 256;
export const MAX_LEASES = 256;
/** A clock that goes back by more than this was set: the state moves with it. Less is waited for, in milliseconds. */
export const CLOCK_STEP_MS = 5_000;
/** Tokens below this are rounding. */
export const EPSILON = 1e-6;

/**
 * Decides one operation and updates the state. All of a key's decisions go through here in their order.
 * @param stored the key's state, or undefined when there is none
 * @param now the store's time in milliseconds; all replicas share it
 * @param lostAt state older than this may have lost decisions and counts as spent; 0 when state is taken as it is
 */
export function decide(
  stored: BucketState | undefined,
  limit: Limit,
  op: BucketOp,
  now: number,
  lostAt: number,
): { state: BucketState; outcome: BucketOutcome } {
  const known = stored !== undefined && stored.at > lostAt ? stored : undefined;
  const state = known ?? { at: now, periods: [], levels: [], leases: [], tickets: [] };
  followClock(state, now);
  const behindMs = Math.max(0, state.at - now);
  align(state, limit, lostAt);
  drain(state, limit, Math.max(now, state.at));
  state.tickets = state.tickets.filter((ticket) => ticket.seenAt + TICKET_MS > state.at);
  const { verdict, waitMs, granted } = OPS[op.kind](state, limit, op as never);
  return {
    state,
    outcome: { verdict, granted, waitMs: waitMs > 0 ? waitMs + behindMs : 0, levels: [...state.levels] },
  };
}

/** Milliseconds after which the state says nothing any more: everything has drained. */
export function forgetAfterMs(state: BucketState, limit: Limit): number {
  const drained = limit.windows.map((window, i) => state.levels[i]! / rateOf(window));
  const leased = state.leases.at(-1);
  const held = leased === undefined ? 0 : leased.endsAt - state.at;
  const waiting = state.tickets.length > 0 ? TICKET_MS : 0;
  // While leases last, nothing that they hold drains.
  return Math.max(held + Math.max(...drained), waiting);
}

type Verdict = Omit<BucketOutcome, "levels">;
type OpOf<K extends BucketOp["kind"]> = Extract<BucketOp, { kind: K }>;
type Apply<K extends BucketOp["kind"]> = (state: BucketState, limit: Limit, op: OpOf<K>) => Verdict;

const OPS: { [K in BucketOp["kind"]]: Apply<K> } = {
  take(state, limit, { cost }) {
    const verdict = look(state, limit, cost, state.tickets);
    if (verdict.verdict === "allowed") addToLevels(state, cost);
    return verdict;
  },

  peek: (state, limit, { cost }) => look(state, limit, cost, state.tickets),

  refund(state, _limit, { cost }) {
    // What is leased may still be spent.
    const leased = sumOf(state.leases);
    state.levels = state.levels.map((level) => Math.max(0, level - cost, Math.min(level, leased)));
    return NOTHING_ASKED;
  },

  wait(state, limit, op) {
    const mine = state.tickets.findIndex((ticket) => ticket.id === op.ticket);
    const behind = state.tickets.findIndex((ticket) => ticket.priority > op.priority);
    const place = mine >= 0 ? mine : behind >= 0 ? behind : state.tickets.length;
    const verdict = look(state, limit, op.cost, state.tickets.slice(0, place));
    if (mine >= 0) state.tickets.splice(mine, 1);
    if (verdict.verdict === "allowed") {
      addToLevels(state, op.cost);
      return verdict;
    }
    if (verdict.waitMs > op.maxWaitMs) return verdict;
    if (state.tickets.length >= MAX_TICKETS) return { ...verdict, verdict: "crowded" };
    state.tickets.splice(place, 0, { id: op.ticket, priority: op.priority, cost: op.cost, seenAt: state.at });
    return { ...verdict, verdict: "waiting" };
  },

  leave(state, _limit, op) {
    state.tickets = state.tickets.filter((ticket) => ticket.id !== op.ticket);
    return NOTHING_ASKED;
  },

  lease(state, limit, op) {
    const held = state.leases.findIndex((lease) => lease.holder === op.holder);
    if (held >= 0) {
      if (op.sequence <= state.leases[held]!.sequence) return REFUSED;
      const [old] = state.leases.splice(held, 1);
      addToLevels(state, -Math.min(op.returned, old!.amount));
    }
    const lease: Lease = { holder: op.holder, sequence: op.sequence, amount: op.carry, endsAt: state.at + LEASE_MS };
    state.leases.push(lease);
    const leased = sumOf(state.leases);
    state.levels = state.levels.map((level) => Math.max(level, leased));

    const verdict = state.leases.length <= MAX_LEASES ? look(state, limit, op.cost, state.tickets) : REFUSED;
    const granted = op.cost > 0 && verdict.verdict === "allowed" ? shareOf(state, limit, op) : 0;
    addToLevels(state, granted);
    lease.amount += granted;
    if (lease.amount === 0) state.leases.pop();
    return op.cost > 0 ? { ...verdict, granted } : NOTHING_ASKED;
  },
};

const NOTHING_ASKED: Verdict = { verdict: "allowed", waitMs: 0, granted: 0 };
const REFUSED: Verdict = { verdict: "refused", waitMs: LEASE_MS, granted: 0 };

/**
 * What is left, shared among the holders and one more; a lone holder may take all but an eighth, so that the next one is
 * not refused at once. Shares shrink as the quota drains.
 */
function shareOf(state: BucketState, limit: Limit, { cost, want }: OpOf<"lease">): number {
  const left = limit.windows.map((window, i) => window.capacity - state.levels[i]!);
  const free = Math.min(...left) - sumOfCosts(state.tickets);
  // The one who asks is among the leases already.
  const holders = state.leases.length;
  const part = holders === 1 ? Math.min(Math.floor(free), Math.ceil((free * 7) / 8)) : Math.floor(free / (1 + holders));
  return Math.max(cost, Math.min(want, part));
}

/** Whether `cost` is there for one who stands behind `ahead`, and if not, when it will be. */
function look(state: BucketState, limit: Limit, cost: number, ahead: readonly Ticket[]): Verdict {
  const before = sumOfCosts(ahead);
  let waitMs = 0;
  limit.windows.forEach((window, i) => {
    waitMs = Math.max(waitMs, msUntil(state, state.levels[i]! + before, window.capacity - cost, rateOf(window)));
  });
  return { verdict: waitMs > 0 ? "refused" : "allowed", waitMs, granted: 0 };
}

/** Milliseconds until `level` has drained to `target`; leased tokens drain only after their lease's end. */
function msUntil(state: BucketState, level: number, target: number, rate: number): number {
  target += EPSILON;
  if (level <= target) return 0;
  let floor = sumOf(state.leases);
  let at = state.at;
  for (const lease of state.leases) {
    if (floor <= target) break;
    level = Math.max(level - rate * (lease.endsAt - at), Math.min(level, floor));
    at = lease.endsAt;
    floor -= lease.amount;
  }
  return at - state.at + Math.max(0, level - target) / rate;
}

/** Takes the state along with a clock that was set back. */
function followClock(state: BucketState, now: number): void {
  const step = state.at - now;
  if (step <= CLOCK_STEP_MS) return;
  state.at -= step;
  for (const lease of state.leases) lease.endsAt -= step;
  for (const ticket of state.tickets) ticket.seenAt -= step;
}

/** Gives the state exactly the limit's windows. A window that it did not have is full, or empty after a loss. */
function align(state: BucketState, limit: Limit, lostAt: number): void {
  const { windows } = limit;
  if (windows.length === state.periods.length && windows.every((window, i) => window.periodMs === state.periods[i])) return;
  const leased = sumOf(state.leases);
  state.levels = windows.map((window) => {
    const known = state.levels[state.periods.indexOf(window.periodMs)];
    return known ?? Math.max(leased, spentLevel(window, state.at, lostAt));
  });
  state.periods = windows.map((window) => window.periodMs);
}

/**
 * The level of a bucket of which nothing is known since `lostAt`: it may have been empty then, and leases that are
 * forgotten could be spent until they ended, so it fills from then on.
 */
function spentLevel(window: LimitWindow, now: number, lostAt: number): number {
  if (lostAt <= 0) return 0;
  return Math.max(0, window.capacity - rateOf(window) * (now - lostAt - LEASE_MS));
}

/** Brings the levels to `now`, lease by lease: what was leased drains from its lease's end on. */
function drain(state: BucketState, limit: Limit, now: number): void {
  for (;;) {
    const first = state.leases[0];
    const until = first !== undefined && first.endsAt <= now ? Math.max(first.endsAt, state.at) : now;
    const leased = sumOf(state.leases);
    const elapsed = until - state.at;
    state.levels = state.levels.map((level, i) =>
      Math.max(0, level - rateOf(limit.windows[i]!) * elapsed, Math.min(level, leased)),
    );
    state.at = until;
    if (first === undefined || first.endsAt > now) return;
    state.leases.shift();
  }
}

function addToLevels(state: BucketState, tokens: number): void {
  state.levels = state.levels.map((level) => Math.max(0, level + tokens));
}

/** Tokens in a millisecond. */
function rateOf(window: LimitWindow): number {
  return window.limit / window.periodMs;
}

function sumOf(leases: readonly Lease[]): number {
  return leases.reduce((sum, lease) => sum + lease.amount, 0);
}

function sumOfCosts(tickets: readonly Ticket[]): number {
  return tickets.reduce((sum, ticket) => sum + ticket.cost, 0);
}
