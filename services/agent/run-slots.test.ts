import { afterEach, describe, expect, test } from "vitest";
import type { PriorityQueue, RequestPriority, WorkHandler, WorkItem } from "../../clients/ratelimit/index.js";
import { backgroundCall, runInCall } from "../../runtime/call-context.js";
import { systemClock } from "../../runtime/clock.js";
import { reasonOf } from "../../runtime/errors.js";
import { ManualClock } from "../../tests/manual-clock.js";
import { RunSlots } from "./run-slots.js";

const RANK: RequestPriority[] = ["CRITICAL", "HIGH", "NORMAL", "LOW"];

/** A queue in memory that hands out by priority, and can forget or be away. */
class Queue implements Pick<PriorityQueue, "enqueue" | "cancel" | "work"> {
  items: { payload: string; priority: RequestPriority }[] = [];
  known = new Set<string>();
  isAway = false;
  #wake: () => void = () => {};

  async enqueue(payload: string, { priority = "NORMAL" }: { priority?: RequestPriority } = {}) {
    if (this.isAway) throw new Error("away");
    if (!this.known.has(payload)) this.items.push({ payload, priority });
    this.known.add(payload);
    this.#wake();
    return payload;
  }

  async cancel(id: string) {
    this.items = this.items.filter(({ payload }) => payload !== id);
    return false;
  }

  async work(handler: WorkHandler, { signal }: { signal: AbortSignal }) {
    signal.addEventListener("abort", () => this.#wake());
    while (!signal.aborted) {
      this.items.sort((a, b) => RANK.indexOf(a.priority) - RANK.indexOf(b.priority));
      const item = this.items.shift();
      if (item === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
      else await handler({ payload: Buffer.from(item.payload) } as unknown as WorkItem, signal);
    }
  }

  forget() {
    this.items = [];
    this.known.clear();
  }
}

const opened: RunSlots[] = [];
afterEach(() => Promise.all(opened.splice(0).map((slots) => slots.close())));

function open(queue: Queue, clock = systemClock) {
  const priorities = new Map<string, RequestPriority>([["premium", "HIGH"]]);
  const slots = new RunSlots({ limit: 2, maxWaiting: 3, queue, priorities, maxWaitMs: 60_000, clock });
  opened.push(slots);
  return slots;
}

/** A run that takes a slot until it is ended. */
function run(slots: RunSlots, tier?: string) {
  const state = { began: false, failure: undefined as unknown, end: () => {}, leave: new AbortController() };
  const ended = new Promise<void>((resolve) => (state.end = resolve));
  const call = backgroundCall({ tenant: "t", ...(tier !== undefined && { tier }) }, "r", new AbortController().signal);
  const done = runInCall(call, async () => {
    for await (const _ of slots.hold(state.leave.signal, async function* () {
      state.began = true;
      yield await ended;
    }));
  }).catch((error: unknown) => (state.failure = error));
  return Object.assign(state, { done });
}

const ticks = () => new Promise((resolve) => setTimeout(resolve, 5));

describe("slots for runs", () => {
  test("are given to as many as there are; the others wait, and the callers of a better tier go first", async () => {
    const slots = open(new Queue());
    const first = [run(slots), run(slots)];
    const waiting = [run(slots), run(slots), run(slots, "premium")];
    await ticks();
    expect([slots.taken, slots.waiting]).toEqual([2, 3]);
    first[0]?.end();
    await ticks();
    expect(waiting.map(({ began }) => began)).toEqual([false, false, true]);
    first[1]?.end();
    await ticks();
    expect(waiting.map(({ began }) => began)).toEqual([true, false, true]);
    for (const { end } of waiting) end();
    await Promise.all([...first, ...waiting].map(({ done }) => done));
    expect([slots.taken, slots.waiting, waiting.every(({ began }) => began)]).toEqual([0, 0, true]);
  });

  test("are not kept for those who have gone", async () => {
    const slots = open(new Queue());
    const first = [run(slots), run(slots)];
    const [gone, patient] = [run(slots), run(slots)];
    await ticks();
    gone.leave.abort(new Error("gone"));
    await gone.done;
    expect(gone.failure).toMatchObject({ message: "gone" });
    for (const { end } of first) end();
    await ticks();
    expect([gone.began, patient.began]).toEqual([false, true]);
    patient.end();
    await patient.done;
    expect([slots.taken, slots.waiting]).toEqual([0, 0]);
  });

  test("are refused at once when as many wait as may", async () => {
    const slots = open(new Queue());
    const runs = Array.from({ length: 5 }, () => run(slots));
    await ticks();
    const refused = run(slots);
    await refused.done;
    expect(reasonOf(refused.failure)).toBe("OVERLOADED");
    for (const { end } of runs) end();
    await Promise.all(runs.map(({ done }) => done));
  });

  test("are refused at once when the queue is away", async () => {
    const queue = new Queue();
    queue.isAway = true;
    const slots = open(queue);
    const first = [run(slots), run(slots)];
    const refused = run(slots);
    await refused.done;
    expect(reasonOf(refused.failure)).toBe("OVERLOADED");
    for (const { end } of first) end();
    await Promise.all(first.map(({ done }) => done));
    expect(slots.taken).toBe(0);
  });

  test("reach those whom the queue has forgotten", async () => {
    const queue = new Queue();
    const clock = new ManualClock();
    const slots = open(queue, clock);
    const first = [run(slots), run(slots)];
    const waiting = [run(slots), run(slots)];
    await ticks();
    queue.forget();
    for (const { end } of first) end();
    await ticks();
    await clock.advance(5_000);
    await ticks();
    expect(waiting.map(({ began }) => began)).toEqual([true, true]);
    for (const { end } of waiting) end();
    await Promise.all(waiting.map(({ done }) => done));
  });
});
