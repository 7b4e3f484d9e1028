import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Admission, excessOf } from "../../tests/ratelimit/admission-bound.js";
import { type BucketState, decide, LEASE_MS } from "./bucket.js";
import type { Limit } from "./limit.js";

const START = Date.UTC(2026, 0, 1);
const HOLDERS = ["a", "b", "c"];

const limits = fc.constantFrom<Limit>(
  { windows: [{ periodMs: 60_000, limit: 60, capacity: 10 }], onFailure: "closed" },
  {
    windows: [
      { periodMs: 1_000, limit: 20, capacity: 5 },
      { periodMs: 60_000, limit: 60, capacity: 30 },
    ],
    onFailure: "closed",
  },
);

/** What a caller, or fate, does next. Holders spend what they have at any moment before their lease ends. */
type Step = { pass: number } & (
  | { does: "take"; cost: number }
  | { does: "wait"; ticket: string; cost: number; priority: number }
  | { does: "lease"; holder: string; cost: number; want: number; keep: number; giveBack: number }
  | { does: "spend"; holder: string; most: number }
  | { does: "die"; holder: string }
  | { does: "lose" }
);

const holder = fc.constantFrom(...HOLDERS);
const small = fc.integer({ min: 0, max: 5 });
const cost = fc.integer({ min: 1, max: 5 });
const pass = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 0, max: 400 }) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 5_000 }) });
const histories: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof<fc.WeightedArbitrary<Step>[]>(
    { weight: 2, arbitrary: fc.record({ pass, does: fc.constant("take"), cost }) },
    { weight: 2, arbitrary: fc.record({ pass, does: fc.constant("wait"), ticket: holder, cost, priority: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 6, arbitrary: fc.record({ pass, does: fc.constant("lease"), holder, cost, want: fc.integer({ min: 1, max: 20 }), keep: small, giveBack: small }) },
    { weight: 6, arbitrary: fc.record({ pass, does: fc.constant("spend"), holder, most: fc.integer({ min: 1, max: 20 }) }) },
    { weight: 1, arbitrary: fc.record({ pass, does: fc.constant("die"), holder }) },
    { weight: 1, arbitrary: fc.record({ pass, does: fc.constant("lose") }) },
  ),
  { minLength: 1, maxLength: 120 },
);

/** Plays the steps and returns what was admitted. */
function play(limit: Limit, steps: readonly Step[]): Admission[] {
  const admitted: Admission[] = [];
  const held = new Map<string, { tokens: number; endsAt: number }>();
  let state: BucketState | undefined;
  let now = START;
  let lostAt = START - 3_600_000;
  let sequence = 0;
  const ask = (op: Parameters<typeof decide>[2]) => {
    const decided = decide(state, limit, op, now, lostAt);
    state = decided.state;
    return decided.outcome;
  };
  const admit = (tokens: number) => {
    if (tokens > 0) admitted.push({ atMs: now, cost: tokens });
  };
  for (const step of steps) {
    now += step.pass;
    for (const [name, lease] of held) if (lease.endsAt <= now) held.delete(name);
    switch (step.does) {
      case "take":
        if (ask({ kind: "take", cost: step.cost }).verdict === "allowed") admit(step.cost);
        break;
      case "wait":
        if (ask({ kind: "wait", ticket: step.ticket, cost: step.cost, priority: step.priority, maxWaitMs: 5_000 }).verdict === "allowed") admit(step.cost);
        break;
      case "lease": {
        // Whatever is neither kept nor given back was spent at the last moment.
        const tokens = held.get(step.holder)?.tokens ?? 0;
        const carry = Math.min(step.keep, tokens);
        const returned = Math.min(step.giveBack, tokens - carry);
        admit(tokens - carry - returned);
        sequence += 1;
        const { granted } = ask({ kind: "lease", holder: step.holder, sequence, cost: step.cost, want: step.want, carry, returned });
        held.set(step.holder, { tokens: carry + granted, endsAt: now + LEASE_MS });
        break;
      }
      case "spend": {
        const lease = held.get(step.holder);
        const tokens = Math.min(step.most, lease?.tokens ?? 0);
        if (lease !== undefined) lease.tokens -= tokens;
        admit(tokens);
        break;
      }
      case "die":
        held.delete(step.holder);
        break;
      case "lose":
        state = undefined;
        lostAt = now;
    }
  }
  return admitted;
}

describe("a bucket", () => {
  test("never admits more than capacity + rate x time, whatever callers, leases, deaths and losses of its state do", () => {
    fc.assert(
      fc.property(limits, histories, (limit, steps) => {
        const admitted = play(limit, steps);
        for (const window of limit.windows) expect(excessOf(admitted, window)).toBeLessThan(1e-3);
      }),
      { numRuns: 2_000 },
    );
  });

  test("fills only when leases that a loss forgot have ended", () => {
    const limit: Limit = { windows: [{ periodMs: 60_000, limit: 60, capacity: 10 }], onFailure: "closed" };
    const admitted = play(limit, [
      { pass: 0, does: "lease", holder: "a", cost: 10, want: 10, keep: 0, giveBack: 0 },
      { pass: 0, does: "lose" },
      { pass: LEASE_MS - 1, does: "take", cost: 1 },
      { pass: 0, does: "spend", holder: "a", most: 10 },
      { pass: 1_001, does: "take", cost: 1 },
    ]);
    expect(admitted.map(({ atMs, cost: tokens }) => [atMs - START, tokens])).toEqual([
      [LEASE_MS - 1, 10],
      [LEASE_MS + 1_000, 1],
    ]);
  });

  test("still admits what the rate allows while its tokens are leased", () => {
    const limit: Limit = { windows: [{ periodMs: 60_000, limit: 60, capacity: 10 }], onFailure: "open" };
    const greedy = Array.from({ length: 600 }, (_, i): Step[] => [
      { pass: 100, does: "lease", holder: HOLDERS[i % 3]!, cost: 1, want: 4, keep: 0, giveBack: 0 },
      { pass: 0, does: "spend", holder: HOLDERS[i % 3]!, most: 4 },
    ]).flat();
    const admitted = play(limit, greedy).reduce((sum, { cost: tokens }) => sum + tokens, 0);
    // One minute: the burst and the rate, less what was leased at the end.
    expect(admitted).toBeGreaterThanOrEqual(66);
    expect(admitted).toBeLessThanOrEqual(70);
  });
});
