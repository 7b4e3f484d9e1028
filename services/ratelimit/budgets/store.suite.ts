import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { Limit } from "../limit.js";
import { type BudgetLimits, type BudgetStore, LATE_MS, SETTLED_MS } from "./store.js";

/** Budgets whose time the test rules. */
export interface BudgetsUnderTest {
  store: BudgetStore;
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

const window = (periodMs: number, limit: number): Limit["windows"][number] => ({ periodMs, limit, capacity: limit });
/** 1,000 tokens a minute and 2,000 an hour; 500 of cost an hour. */
const LIMITS: BudgetLimits = new Map([
  ["tokens", { windows: [window(60_000, 1_000), window(3_600_000, 2_000)], onFailure: "closed" }],
  ["cost", { windows: [window(3_600_000, 500)], onFailure: "closed" }],
]);
const TTL = 60_000;
const amounts = (given: Record<string, number>) => new Map(Object.entries(given));

let keys = 0;

/** The promises of BudgetStore, for every backend. */
export function describeBudgetStore(name: string, open: () => Promise<BudgetsUnderTest>): void {
  describe(`a budget store: ${name}`, () => {
    let under: BudgetsUnderTest;
    let key: string;

    beforeEach(async () => {
      under = await open();
      onTestFinished(() => under.close());
      keys += 1;
      key = `tenant/budget-${process.pid}-${keys}`;
    });

    const reserve = async (id: string, given: Record<string, number>, ttlMs = TTL) => {
      const { refusedBy, waitMs } = await under.store.reserve(key, LIMITS, id, amounts(given), ttlMs);
      return refusedBy === undefined ? "held" : `${refusedBy} ${Math.ceil(waitMs)}`;
    };
    const settle = async (id: string, used: Record<string, number>) => (await under.store.settle(key, LIMITS, id, amounts(used))).state;
    const look = async () =>
      Object.fromEntries(
        (await under.store.look(key, LIMITS)).map(({ budget, reserved, spent }) => [budget, [reserved, ...spent.map((one) => Math.round(one * 1000) / 1000)]]),
      );

    test("holds all amounts or none, and says by when the wait would be over", async () => {
      expect(await reserve("a", { tokens: 600, cost: 100 })).toBe("held");
      expect(await reserve("b", { tokens: 500, cost: 100 })).toBe("tokens 6000");
      expect(await reserve("c", { tokens: 100, cost: 401 })).toBe("cost 7200");
      expect(await look()).toEqual({ tokens: [600, 0, 0], cost: [100, 0] });
    });

    test("counts what was used in place of what was held, less or more", async () => {
      await reserve("a", { tokens: 600, cost: 100 });
      expect(await settle("a", { tokens: 250 })).toBe("settled");
      expect(await look()).toEqual({ tokens: [0, 250, 250], cost: [0, 0] });
      await reserve("b", { tokens: 100 });
      expect(await settle("b", { tokens: 900, cost: 7 })).toBe("settled");
      expect(await look()).toEqual({ tokens: [0, 1150, 1150], cost: [0, 7] });
      expect(await reserve("c", { tokens: 1 })).toBe("tokens 9060");
    });

    test("gets back what was spent by time, but not what is held", async () => {
      await reserve("a", { tokens: 300 });
      await settle("a", { tokens: 300 });
      await reserve("b", { tokens: 400 }, 3_600_000);
      await under.pass(6_000);
      expect((await look()).tokens).toEqual([400, 200, 296.667]);
      await under.pass(54_000);
      expect((await look()).tokens).toEqual([400, 0, 266.667]);
      expect(await reserve("c", { tokens: 601 })).toMatch(/^tokens/);
      expect(await reserve("c", { tokens: 600 })).toBe("held");
    });

    test("takes a repeated reservation or settlement once", async () => {
      expect(await reserve("a", { tokens: 600 })).toBe("held");
      expect(await reserve("a", { tokens: 600 })).toBe("held");
      expect((await look()).tokens).toEqual([600, 0, 0]);
      expect(await settle("a", { tokens: 10 })).toBe("settled");
      expect(await settle("a", { tokens: 10 })).toBe("settled");
      expect(await reserve("a", { tokens: 600 })).toBe("held");
      expect((await look()).tokens).toEqual([0, 10, 10]);
    });

    test("gives back what nobody settles, and still counts what was used when that is told late", async () => {
      await reserve("a", { tokens: 600 });
      await reserve("b", { tokens: 300 });
      await under.pass(TTL);
      expect((await look()).tokens).toEqual([0, 0, 0]);
      expect(await settle("a", { tokens: 500 })).toBe("expired");
      expect(await settle("a", { tokens: 500 })).toBe("settled");
      expect((await look()).tokens).toEqual([0, 500, 500]);
      await under.pass(LATE_MS);
      expect(await settle("b", { tokens: 300 })).toBe("unknown");
    });

    test("knows a settled reservation for a while", async () => {
      await reserve("a", { tokens: 600 });
      await settle("a", { tokens: 60 });
      await under.pass(SETTLED_MS - 1);
      expect(await settle("a", { tokens: 60 })).toBe("settled");
      await under.pass(1);
      expect(await settle("a", { tokens: 60 })).toBe("unknown");
    });

    test("does not know a reservation that was never made, nor another key's", async () => {
      expect(await settle("nobody", { tokens: 1 })).toBe("unknown");
      await reserve("a", { tokens: 1 });
      key = `${key}-other`;
      expect(await settle("a", { tokens: 1 })).toBe("unknown");
      expect(await look()).toEqual({ tokens: [0, 0, 0], cost: [0, 0] });
    });

    test("does not hold amounts without a limit", async () => {
      expect(await reserve("a", { other: 1_000_000 })).toBe("held");
      expect(await look()).toEqual({ tokens: [0, 0, 0], cost: [0, 0] });
    });

    test("holds no more than there is when many reserve at the same moment", async () => {
      const outcomes = await Promise.all(Array.from({ length: 30 }, (_, i) => reserve(`r${i}`, { tokens: 100 })));
      expect(outcomes.filter((outcome) => outcome === "held")).toHaveLength(10);
    });
  });
}
