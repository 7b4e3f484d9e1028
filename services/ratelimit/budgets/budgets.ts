import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import { type BudgetAmount, type BudgetStatus, BudgetStatusSchema } from "../../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import type { Identity } from "../../../runtime/call-context.js";
import { invalidField, meshError } from "../../../runtime/errors.js";
import { toWindow } from "../decision.js";
import { largestCost } from "../limit.js";
import { costAboveCapacity, storeUnavailable } from "../limit-errors.js";
import type { Limits } from "../limits.js";
import { bucketKey, StoreUnavailableError } from "../store.js";
import type { Amounts, BudgetLevel, BudgetLimits, BudgetStore } from "./store.js";

/** Budgets of the keys of all tenants, by the limits that hold. */
export class Budgets {
  readonly #store: BudgetStore;
  readonly #limits: () => Limits;

  constructor(store: BudgetStore, limits: () => Limits) {
    this.#store = store;
    this.#limits = limits;
  }

  /**
   * Holds all amounts or none. Throws BUDGET_EXHAUSTED with the wait, COST_ABOVE_CAPACITY for what can never be held, and
   * RATE_LIMIT_UNAVAILABLE when a budget that is fail-closed cannot be asked.
   */
  async reserve(identity: Identity, key: string, id: string, asked: readonly BudgetAmount[], ttlMs: number): Promise<BudgetStatus[]> {
    const limits = this.#limitsOf(identity, key, "amounts", asked);
    const amounts = toAmounts(asked);
    asked.forEach(({ budget, amount }, i) => {
      const limit = limits.get(budget);
      const most = limit === undefined ? Number.POSITIVE_INFINITY : largestCost(limit);
      if (Number(amount) > most) throw costAboveCapacity(`amounts[${i}].amount`, Number(amount), most);
    });
    const outcome = await this.#ask(limits, amounts, () => this.#store.reserve(bucketKey(identity.tenant, key), limits, id, amounts, ttlMs));
    if (outcome === undefined) return [];
    if (outcome.refusedBy !== undefined) throw budgetExhausted(outcome.refusedBy, outcome.waitMs);
    return toStatuses(limits, outcome.levels);
  }

  /** Ends a reservation with what was used. Throws RESERVATION_NOT_FOUND. */
  async settle(
    identity: Identity,
    key: string,
    id: string,
    used: readonly BudgetAmount[],
  ): Promise<{ budgets: BudgetStatus[]; expired: boolean }> {
    const limits = this.#limitsOf(identity, key, "used", used);
    // What has no limit was not held either.
    if (limits.size === 0) return { budgets: [], expired: false };
    const amounts = toAmounts(used);
    const outcome = await this.#ask(limits, amounts, () => this.#store.settle(bucketKey(identity.tenant, key), limits, id, amounts));
    if (outcome === undefined) return { budgets: [], expired: false };
    if (outcome.state === "unknown") throw reservationNotFound();
    return { budgets: toStatuses(limits, outcome.levels), expired: outcome.state === "expired" };
  }

  async statusOf(identity: Identity, key: string): Promise<BudgetStatus[]> {
    const limits = this.#limits().budgetsOf(identity, key);
    if (limits.size === 0) return [];
    const levels = await this.#ask(limits, new Map(), () => this.#store.look(bucketKey(identity.tenant, key), limits));
    return levels === undefined ? [] : toStatuses(limits, levels);
  }

  #limitsOf(identity: Identity, key: string, field: string, amounts: readonly BudgetAmount[]): BudgetLimits {
    const known = this.#limits().budgetNames;
    amounts.forEach(({ budget }, i) => {
      if (known.has(budget)) return;
      const remedy = `there is no budget "${budget}"; known are ${[...known].sort().join(", ")}`;
      throw invalidField(`${field}[${i}].budget`, remedy, ErrorReason.UNKNOWN_BUDGET);
    });
    return this.#limits().budgetsOf(identity, key);
  }

  /** Undefined when the store does not answer and every budget that is asked is fail-open. */
  async #ask<T>(limits: BudgetLimits, amounts: Amounts, call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      const asked = [...limits].filter(([budget]) => amounts.size === 0 || amounts.has(budget));
      if (asked.every(([, limit]) => limit.onFailure === "open")) return undefined;
      throw storeUnavailable(error);
    }
  }
}

function toAmounts(amounts: readonly BudgetAmount[]): Amounts {
  return new Map(amounts.map(({ budget, amount }) => [budget, Number(amount)]));
}

function toStatuses(limits: BudgetLimits, levels: readonly BudgetLevel[]): BudgetStatus[] {
  return levels.map(({ budget, reserved, spent }) => {
    const windows = limits.get(budget)!.windows.map((window, i) => toWindow(window, spent[i]! + reserved));
    const remaining = windows.map((window) => window.remaining).reduce((least, left) => (left < least ? left : least));
    return create(BudgetStatusSchema, { budget, reserved: BigInt(Math.round(reserved)), remaining, windows });
  });
}

function budgetExhausted(budget: string, waitMs: number) {
  const message = `The budget ${budget} does not have this amount now; retry after the given delay.`;
  return meshError(Code.ResourceExhausted, ErrorReason.BUDGET_EXHAUSTED, message, { retryAfterMs: waitMs, metadata: { budget } });
}

function reservationNotFound() {
  return meshError(Code.NotFound, ErrorReason.RESERVATION_NOT_FOUND, "There is no such reservation, or it ended too long ago.");
}
