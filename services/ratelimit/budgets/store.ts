import type { Limit } from "../limit.js";

/** The budgets of a key, by name. Each is a limit whose windows hold amounts in the budget's own unit. */
export type BudgetLimits = ReadonlyMap<string, Limit>;
export type Amounts = ReadonlyMap<string, number>;

/** What a window has given (and not got back by time), and what reservations hold of its budget. */
export interface BudgetLevel {
  budget: string;
  reserved: number;
  /** For each window of the budget's limit. */
  spent: number[];
}

export interface ReserveOutcome {
  /** The first budget that does not have its amount; undefined when all of it is held. */
  refusedBy: string | undefined;
  /** Until the amounts are there, if nobody else takes or returns any, in milliseconds. */
  waitMs: number;
  levels: BudgetLevel[];
}

export interface SettleOutcome {
  /** `settled` also when it was settled before; `unknown` when there is no such reservation any more. */
  state: "settled" | "expired" | "unknown";
  levels: BudgetLevel[];
}

/** How long the use of an expired reservation is still taken, in milliseconds. */
export const LATE_MS = 3_600_000;
/** How long a settled reservation is known, so that a repeated settle changes nothing, in milliseconds. */
export const SETTLED_MS = 600_000;

/**
 * Budgets and reservations of all keys. Reserved amounts do not drain until they are settled, so a settlement or the end of a
 * reservation gives back exactly what it held. All methods reject with StoreUnavailableError when the backend cannot say.
 */
export interface BudgetStore {
  /** Holds all amounts or none. Amounts of budgets without a limit are not held. A known `id` changes nothing. */
  reserve(key: string, limits: BudgetLimits, id: string, amounts: Amounts, ttlMs: number): Promise<ReserveOutcome>;
  /** Ends a reservation and counts what was used. */
  settle(key: string, limits: BudgetLimits, id: string, used: Amounts): Promise<SettleOutcome>;
  look(key: string, limits: BudgetLimits): Promise<BudgetLevel[]>;
}
