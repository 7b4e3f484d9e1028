import type { Clock } from "../../../runtime/clock.js";
import { EPSILON } from "../bucket.js";
import { ForgettingMap } from "../forgetting-map.js";
import type { LimitWindow } from "../limit.js";
import { StoreUnavailableError } from "../store.js";
import { DEFAULT_MAX_KEYS } from "../store-memory.js";
import { type Amounts, type BudgetLevel, type BudgetLimits, type BudgetStore, LATE_MS, SETTLED_MS } from "./store.js";

interface Reservation {
  state: "open" | "settled" | "expired";
  amounts: Amounts;
  /** When an open one expires, or another is forgotten. */
  until: number;
}

interface Account {
  at: number;
  /** By budget and period. */
  spent: Map<string, number>;
  /** By budget. */
  reserved: Map<string, number>;
  reservations: Map<string, Reservation>;
}

/** Budgets in this process's memory: for one replica, and gone with it. */
export function openMemoryBudgets(clock: Clock): BudgetStore {
  const accounts = new ForgettingMap<Account>(DEFAULT_MAX_KEYS);

  function accountAt(key: string, limits: BudgetLimits): Account {
    const now = clock.now();
    if (!accounts.hasRoomFor(key, now)) throw new StoreUnavailableError(`more than ${DEFAULT_MAX_KEYS} keys have budgets in use`);
    const account = accounts.get(key) ?? { at: now, spent: new Map(), reserved: new Map(), reservations: new Map() };
    const elapsed = Math.max(0, now - account.at);
    account.at = Math.max(now, account.at);
    for (const [budget, limit] of limits) {
      for (const window of limit.windows) {
        const name = spentName(budget, window);
        account.spent.set(name, Math.max(0, (account.spent.get(name) ?? 0) - rateOf(window) * elapsed));
      }
    }
    for (const [id, reservation] of account.reservations) expire(account, id, reservation);
    return account;
  }

  function keep(key: string, limits: BudgetLimits, account: Account): BudgetLevel[] {
    accounts.set(key, account, account.at + forgetAfterMs(account, limits));
    return levelsOf(account, limits);
  }

  return {
    async reserve(key, limits, id, amounts, ttlMs) {
      const account = accountAt(key, limits);
      const held = new Map([...amounts].filter(([budget]) => limits.has(budget)));
      if (account.reservations.has(id) || held.size === 0) return { refusedBy: undefined, waitMs: 0, levels: keep(key, limits, account) };
      const waits = [...held].map(([budget, amount]) => ({ budget, waitMs: waitFor(account, limits, budget, amount) }));
      const refused = waits.find(({ waitMs }) => waitMs > 0);
      if (refused === undefined) {
        addTo(account.reserved, held, 1);
        account.reservations.set(id, { state: "open", amounts: held, until: account.at + ttlMs });
      }
      return {
        refusedBy: refused?.budget,
        waitMs: Math.max(...waits.map(({ waitMs }) => waitMs)),
        levels: keep(key, limits, account),
      };
    },

    async settle(key, limits, id, used) {
      const account = accountAt(key, limits);
      const reservation = account.reservations.get(id);
      if (reservation === undefined) return { state: "unknown", levels: keep(key, limits, account) };
      const expired = reservation.state === "expired";
      if (reservation.state === "open") addTo(account.reserved, reservation.amounts, -1);
      if (reservation.state !== "settled") {
        for (const [budget, limit] of limits) {
          for (const window of limit.windows) {
            const name = spentName(budget, window);
            account.spent.set(name, (account.spent.get(name) ?? 0) + (used.get(budget) ?? 0));
          }
        }
        account.reservations.set(id, { state: "settled", amounts: new Map(), until: account.at + SETTLED_MS });
      }
      return { state: expired ? "expired" : "settled", levels: keep(key, limits, account) };
    },

    async look(key, limits) {
      return keep(key, limits, accountAt(key, limits));
    },
  };
}

/** Gives back what a reservation held whose time is over, and forgets it later. */
function expire(account: Account, id: string, reservation: Reservation): void {
  if (reservation.until > account.at) return;
  if (reservation.state !== "open") {
    account.reservations.delete(id);
    return;
  }
  addTo(account.reserved, reservation.amounts, -1);
  account.reservations.set(id, { state: "expired", amounts: new Map(), until: account.at + LATE_MS });
}

/** Milliseconds after which the account says nothing any more. */
function forgetAfterMs(account: Account, limits: BudgetLimits): number {
  const drained = [...limits].flatMap(([budget, limit]) =>
    limit.windows.map((window) => (account.spent.get(spentName(budget, window)) ?? 0) / rateOf(window)),
  );
  const known = [...account.reservations.values()].map(({ until }) => until - account.at + LATE_MS);
  return Math.max(0, ...drained, ...known);
}

/** Milliseconds until the windows of a budget have `amount`: what reservations hold comes back only through them. */
function waitFor(account: Account, limits: BudgetLimits, budget: string, amount: number): number {
  const reserved = account.reserved.get(budget) ?? 0;
  const waits = limits.get(budget)!.windows.map((window) => {
    const over = (account.spent.get(spentName(budget, window)) ?? 0) + reserved + amount - window.capacity - EPSILON;
    return Math.max(0, over) / rateOf(window);
  });
  return Math.max(...waits);
}

function levelsOf(account: Account, limits: BudgetLimits): BudgetLevel[] {
  return [...limits].map(([budget, limit]) => ({
    budget,
    reserved: account.reserved.get(budget) ?? 0,
    spent: limit.windows.map((window) => account.spent.get(spentName(budget, window)) ?? 0),
  }));
}

function addTo(totals: Map<string, number>, amounts: Amounts, sign: 1 | -1): void {
  for (const [budget, amount] of amounts) totals.set(budget, (totals.get(budget) ?? 0) + sign * amount);
}

function spentName(budget: string, window: LimitWindow): string {
  return `${budget}:${window.periodMs}`;
}

function rateOf(window: LimitWindow): number {
  return window.limit / window.periodMs;
}
