import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { type BucketOp, type BucketOutcome, CLOCK_STEP_MS, LEASE_MS, MAX_TICKETS, TICKET_MS } from "./bucket.js";
import type { Limit } from "./limit.js";
import type { BucketStore } from "./store.js";

/** A store whose time the test rules. */
export interface StoreUnderTest {
  store: BucketStore;
  /** Another replica's view of the same buckets; the same store where there can be only one. */
  other: BucketStore;
  /** Moves the store's time by `ms`, back when negative. */
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

/** 10 at once, one more each second; 15 in the first hour and one more each four minutes. */
const LIMIT: Limit = {
  windows: [
    { periodMs: 60_000, limit: 60, capacity: 10 },
    { periodMs: 3_600_000, limit: 15, capacity: 15 },
  ],
  onFailure: "open",
};
/** 10 at once, one more each second. */
const MINUTE: Limit = { windows: [LIMIT.windows[0]!], onFailure: "open" };

const take = (cost = 1): BucketOp => ({ kind: "take", cost });
const wait = (ticket: string, options: { cost?: number; priority?: number; maxWaitMs?: number } = {}): BucketOp => ({
  kind: "wait",
  ticket: ticket.padEnd(8, "."),
  cost: 1,
  priority: 3,
  maxWaitMs: 60_000,
  ...options,
});
let sequence = 0;
const lease = (
  holder: string,
  options: { cost?: number; want?: number; carry?: number; returned?: number; sequence?: number } = {},
): BucketOp => ({
  kind: "lease",
  holder: holder.padEnd(8, "."),
  sequence: (sequence += 1),
  cost: 1,
  want: 1,
  carry: 0,
  returned: 0,
  ...options,
});

const brief = ({ verdict, waitMs }: BucketOutcome) => (waitMs === 0 ? verdict : `${verdict} ${Math.ceil(waitMs)}`);

let keys = 0;

/** The promises of BucketStore, for every backend. */
export function describeBucketStore(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`a bucket store: ${name}`, () => {
    let under: StoreUnderTest;
    let key: string;

    beforeEach(async () => {
      under = await open();
      onTestFinished(() => under.close());
      keys += 1;
      key = `tenant/key-${process.pid}-${keys}`;
    });

    const ask = async (op: BucketOp, limit = MINUTE, store = under.store) => brief(await store.decide(key, limit, op));
    const left = async (limit = MINUTE) => {
      const { levels } = await under.store.decide(key, limit, { kind: "peek", cost: 1 });
      return limit.windows.map((window, i) => Math.round((window.capacity - levels[i]!) * 1000) / 1000);
    };

    describe("takes", () => {
      test.each([
        { cost: 1, first: "allowed", left: 9 },
        { cost: 10, first: "allowed", left: 0 },
      ])("$cost of 10 and leaves $left", async ({ cost, first, left: rest }) => {
        expect(await ask(take(cost))).toBe(first);
        expect(await left()).toEqual([rest]);
      });

      test("nothing when not all of it is there, and says exactly when it will be", async () => {
        await ask(take(8));
        expect(await ask(take(5))).toBe("refused 3000");
        expect(await left()).toEqual([2]);
        await under.pass(2_999);
        expect(await ask(take(5))).toBe("refused 1");
        await under.pass(1);
        expect(await ask(take(5))).toBe("allowed");
      });

      test("from every window or from none, and waits for the slowest", async () => {
        expect(await ask(take(10), LIMIT)).toBe("allowed");
        await under.pass(10_000);
        expect(await ask(take(6), LIMIT)).toBe(`refused ${4 * 60_000 - 10_000}`);
        expect(await left(LIMIT)).toEqual([10, 5.042]);
        expect(await ask(take(5), LIMIT)).toBe("allowed");
        expect(await left(LIMIT)).toEqual([5, 0.042]);
      });

      test("never more than the capacity after a long time", async () => {
        await ask(take(10));
        await under.pass(86_400_000);
        expect(await ask(take(10))).toBe("allowed");
        expect(await ask(take())).toBe("refused 1000");
      });

      test("apart for each key", async () => {
        await ask(take(10));
        key = `${key}-other`;
        expect(await ask(take(10))).toBe("allowed");
      });

      test("together with other replicas, at the same moment too", async () => {
        const outcomes = await Promise.all(
          Array.from({ length: 40 }, (_, i) => ask(take(), MINUTE, i % 2 === 0 ? under.store : under.other)),
        );
        expect(outcomes.filter((outcome) => outcome === "allowed")).toHaveLength(10);
      });

      test("nothing when it only looks", async () => {
        await ask({ kind: "peek", cost: 10 });
        expect(await ask(take(10))).toBe("allowed");
        expect(await ask({ kind: "peek", cost: 2 })).toBe("refused 2000");
      });
    });

    describe("when the limit changes", () => {
      test("keeps what each window has given, and starts new windows full", async () => {
        await ask(take(8));
        expect(await left(LIMIT)).toEqual([2, 15]);
        const raised: Limit = { windows: [{ periodMs: 60_000, limit: 60, capacity: 20 }], onFailure: "open" };
        expect(await left(raised)).toEqual([12]);
      });

      test("waits down to a lowered capacity", async () => {
        await ask(take(8));
        const lowered: Limit = { windows: [{ periodMs: 60_000, limit: 60, capacity: 5 }], onFailure: "open" };
        expect(await ask(take(), lowered)).toBe("refused 4000");
      });
    });

    describe("when the clock", () => {
      test("goes back a little, gives nothing twice and waits the longer", async () => {
        await ask(take(10));
        await under.pass(-2_000);
        expect(await ask(take())).toBe("refused 3000");
        await under.pass(2_000);
        expect(await ask(take())).toBe("refused 1000");
      });

      test("is set back, goes on from there", async () => {
        await ask(take(10));
        await under.pass(-(CLOCK_STEP_MS + 3_600_000));
        expect(await ask(take())).toBe("refused 1000");
        await under.pass(1_000);
        expect(await ask(take())).toBe("allowed");
      });
    });

    describe("keeps places for those who wait", () => {
      test("in the order of their arrival, each with its exact wait", async () => {
        await ask(take(10));
        expect(await ask(wait("a"))).toBe("waiting 1000");
        expect(await ask(wait("b", { cost: 2 }), MINUTE, under.other)).toBe("waiting 3000");
        expect(await ask(wait("c"))).toBe("waiting 4000");
        await under.pass(1_000);
        expect(await ask(wait("b", { cost: 2 }))).toBe("waiting 2000");
        expect(await ask(wait("a"))).toBe("allowed");
        await under.pass(2_000);
        expect(await ask(wait("c"))).toBe("waiting 1000");
        expect(await ask(wait("b", { cost: 2 }))).toBe("allowed");
      });

      test("by priority first", async () => {
        await ask(take(10));
        expect(await ask(wait("low", { priority: 4 }))).toBe("waiting 1000");
        expect(await ask(wait("normal", { priority: 3 }))).toBe("waiting 1000");
        expect(await ask(wait("critical", { priority: 1 }))).toBe("waiting 1000");
        expect(await ask(wait("urgent", { priority: 1 }))).toBe("waiting 2000");
        expect(await ask(wait("normal", { priority: 3 }))).toBe("waiting 3000");
        expect(await ask(wait("low", { priority: 4 }))).toBe("waiting 4000");
        await under.pass(1_000);
        expect(await ask(wait("low", { priority: 4 }))).toBe("waiting 3000");
        expect(await ask(wait("critical", { priority: 1 }))).toBe("allowed");
      });

      test("that a take does not overtake", async () => {
        await ask(take(10));
        await ask(wait("a", { cost: 4 }));
        await under.pass(4_000);
        expect(await ask(take())).toBe("refused 1000");
        expect(await ask(wait("a", { cost: 4 }))).toBe("allowed");
      });

      test("and gives them up when asked to, when they are silent, or when the wait grows too long", async () => {
        await ask(take(10));
        await ask(wait("a", { cost: 5 }));
        await ask({ kind: "leave", ticket: "a......." });
        expect(await ask(wait("b", { cost: 5 }))).toBe("waiting 5000");
        await under.pass(TICKET_MS);
        expect(await ask(take(5))).toBe("allowed");
        expect(await ask(wait("c", { maxWaitMs: 1_500 }))).toBe("waiting 1000");
        expect(await ask(wait("d", { priority: 1 }))).toBe("waiting 1000");
        expect(await ask(wait("c", { maxWaitMs: 1_500 }))).toBe("refused 2000");
        expect(await ask(wait("e"))).toBe("waiting 2000");
      });

      test("not for those who would wait too long anyway", async () => {
        await ask(take(10));
        expect(await ask(wait("a", { cost: 5, maxWaitMs: 4_999 }))).toBe("refused 5000");
        expect(await ask(wait("b", { maxWaitMs: 1_000 }))).toBe("waiting 1000");
      });

      test("as many as a key may have", async () => {
        await ask(take(10));
        for (let i = 0; i < MAX_TICKETS; i += 1) await ask(wait(`t${i}`, { maxWaitMs: 1e9 }));
        expect(await ask(wait("one more", { maxWaitMs: 1e9 }))).toBe(`crowded ${(MAX_TICKETS + 1) * 1_000}`);
      });
    });

    describe("leases", () => {
      const granted = async (op: BucketOp) => (await under.store.decide(key, MINUTE, op)).granted;

      test("as much as is wanted, and at most a share of what is left that shrinks with it", async () => {
        expect(await granted(lease("a", { want: 3 }))).toBe(3);
        expect(await granted(lease("b", { want: 100 }))).toBe(2);
        expect(await granted(lease("c", { want: 100 }))).toBe(1);
        expect(await left()).toEqual([4]);
      });

      test("most of what is left to a lone holder, and not all of it", async () => {
        expect(await granted(lease("a", { want: 100 }))).toBe(9);
        expect(await granted(lease("b", { want: 100 }))).toBe(1);
        expect(await left()).toEqual([0]);
      });

      test("at least the cost when that is there, else nothing but the wait", async () => {
        expect(await granted(lease("a", { cost: 9, want: 9 }))).toBe(9);
        expect(await ask(lease("b", { cost: 2, want: 2 }))).toBe(`refused ${LEASE_MS + 1_000}`);
        expect(await granted(lease("b", { cost: 1, want: 8 }))).toBe(1);
      });

      test("tokens that do not drain while they may still be spent", async () => {
        expect(await granted(lease("a", { cost: 4, want: 4 }))).toBe(4);
        await under.pass(LEASE_MS);
        // Its last token may have been spent just now.
        expect(await left()).toEqual([6]);
        await under.pass(1_000);
        expect(await left()).toEqual([7]);
      });

      test("and takes spent ones for spent, unused ones back, and kept ones along", async () => {
        expect(await granted(lease("a", { cost: 5, want: 5 }))).toBe(5);
        // One was spent, two come back, two stay with their holder.
        expect(await ask(lease("a", { cost: 0, want: 0, carry: 2, returned: 2 }))).toBe("allowed");
        expect(await left()).toEqual([7]);
        await under.pass(1_000);
        expect(await left()).toEqual([8]);
        await under.pass(LEASE_MS - 1_000);
        expect(await left()).toEqual([8]);
        await under.pass(2_000);
        expect(await left()).toEqual([10]);
      });

      test("again to one who holds some, on top of what it keeps", async () => {
        await granted(lease("a", { cost: 4, want: 4 }));
        expect(await granted(lease("a", { carry: 3, cost: 5, want: 5 }))).toBe(5);
        expect(await left()).toEqual([1]);
        await under.pass(LEASE_MS - 1);
        expect(await left()).toEqual([2]);
      });

      test("nothing before those who wait", async () => {
        await ask(take(8));
        await ask(wait("a", { cost: 4 }));
        expect(await ask(lease("b"))).toBe("refused 3000");
      });

      test("and does not heed a request that arrives after a later one", async () => {
        await granted(lease("a", { cost: 5, want: 5, sequence: 100 }));
        expect(await ask(lease("a", { cost: 0, want: 0, returned: 5, sequence: 99 }))).toBe(`refused ${LEASE_MS}`);
        expect(await left()).toEqual([5]);
        expect(await ask(lease("a", { cost: 0, want: 0, returned: 5, sequence: 101 }))).toBe("allowed");
        expect(await left()).toEqual([10]);
      });

      test("no more than was leased back", async () => {
        await granted(lease("a", { cost: 2, want: 2 }));
        await ask(take(5));
        await ask(lease("a", { cost: 0, want: 0, returned: 100 }));
        expect(await left()).toEqual([5]);
      });
    });
  });
}
