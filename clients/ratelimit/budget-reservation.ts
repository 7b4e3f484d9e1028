import { randomUUID } from "node:crypto";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type { RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { currentCall } from "../../runtime/call-context.js";
import { invalidField } from "../../runtime/errors.js";
import { asIdentity } from "./as-identity.js";
import { withoutLimiter } from "./decision.js";

/** Whole amounts by budget, such as { llm_tokens: 4_000, cost_microusd: 1_200 }. */
export type BudgetAmounts = Readonly<Record<string, number>>;

export interface ReserveOptions {
  /** When the amounts come back if nobody settles, in milliseconds. Default 600,000. */
  ttl?: number;
}

/** Amounts of budgets that are held for one piece of work. */
export interface BudgetReservation {
  /** Whether the limiter could not be asked, and the work may go on without. */
  readonly degraded: boolean;
  /**
   * Ends the reservation with what was used, which may be more than was held; nothing of budgets that are not named. Goes
   * through even when the current call has been cancelled. Rejects when the service cannot be told: what was held then comes
   * back by itself after the ttl.
   */
  settle(used: BudgetAmounts): Promise<void>;
}

/** Holds all amounts or none. Rejects with RESOURCE_EXHAUSTED and the wait when a budget does not have its amount. */
export async function reserveBudget(
  client: Client<typeof RateLimitService>,
  key: string,
  amounts: BudgetAmounts,
  options: ReserveOptions & { open: boolean; patienceMs: number },
): Promise<BudgetReservation> {
  const reservation = randomUUID();
  const identity = currentCall()?.identity;
  const ttl = options.ttl === undefined ? {} : { ttl: durationFromMs(options.ttl) };
  const timeoutMs = options.patienceMs;
  try {
    const { budgets } = await client.reserveBudget({ key, reservation, amounts: toProto("amounts", amounts), ...ttl }, { timeoutMs });
    // None of the budgets has a limit: nothing is held.
    if (budgets.length === 0) return { degraded: false, settle: () => Promise.resolve() };
  } catch (error) {
    if (!withoutLimiter(error, options.open).allowed) throw error;
    return { degraded: true, settle: () => Promise.resolve() };
  }
  return {
    degraded: false,
    settle: (used) =>
      asIdentity(identity, async () => {
        await client.settleReservation({ key, reservation, used: toProto("used", used) });
      }),
  };
}

function toProto(field: string, amounts: BudgetAmounts) {
  return Object.entries(amounts).map(([budget, amount], i) => {
    if (!Number.isSafeInteger(amount)) throw invalidField(`${field}[${i}].amount`, "give a whole number");
    return { budget, amount: BigInt(amount) };
  });
}
