import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { type NewItem, type QueueSettings, type QueueStore } from "./store.js";

/** Queues whose time the test rules. */
export interface QueuesUnderTest {
  store: QueueStore;
  /** Another replica's view of the same queues; the same store where there can be only one. */
  other: QueueStore;
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

const AGEING = 10_000;
const LEASE = 30_000;
const [CRITICAL, HIGH, NORMAL, LOW] = [1, 2, 3, 4];

let queues = 0;

/** The promises of QueueStore, for every backend. */
export function describeQueueStore(name: string, open: () => Promise<QueuesUnderTest>): void {
  describe(`a queue store: ${name}`, () => {
    let under: QueuesUnderTest;
    let queue: QueueSettings;

    beforeEach(async () => {
      under = await open();
      onTestFinished(() => under.close());
      queues += 1;
      queue = { name: `q-${process.pid}-${queues}`, maxDepth: 100, maxTenantDepth: 50, maxAttempts: 3, ageingMs: AGEING };
    });

    /** Puts an item in whose payload is its name, and returns its id. */
    async function put(name: string, options: Partial<Omit<NewItem, "payload">> = {}): Promise<string> {
      const item = { tenant: "acme", priority: NORMAL!, ttlMs: 3_600_000, idempotencyKey: "", payload: Buffer.from(name), ...options };
      const outcome = await under.store.enqueue(queue, item);
      return "id" in outcome ? outcome.id : `full ${outcome.full}`;
    }
    /** Takes up to `most` items and returns them by the names in their payloads. */
    async function take(most: number, options: { worker?: string; lease?: string; store?: QueueStore } = {}) {
      const { worker = `w${Math.random()}`, lease = "lease", store = under.store } = options;
      const { items } = await store.dequeue(queue, worker, lease, most, LEASE);
      return items.map((item) => ({ ...item, name: Buffer.from(item.payload).toString() }));
    }
    const names = async (most: number) => (await take(most)).map((item) => item.name);

    test("delivers by priority, and inside one by arrival", async () => {
      for (const [name, priority] of [["n1", NORMAL], ["l1", LOW], ["c1", CRITICAL], ["n2", NORMAL], ["h1", HIGH], ["c2", CRITICAL]] as const) {
        await put(name, { priority: priority! });
      }
      expect(await names(4)).toEqual(["c1", "c2", "h1", "n1"]);
      expect(await names(4)).toEqual(["n2", "l1"]);
      expect(await names(4)).toEqual([]);
    });

    test("delivers what was put in, whatever bytes it has, with its facts", async () => {
      const payload = Uint8Array.from({ length: 256 }, (_, i) => i);
      await under.store.enqueue(queue, { tenant: "acme", priority: HIGH!, ttlMs: 1_000, idempotencyKey: "", payload });
      await under.pass(500);
      const [item] = (await under.other.dequeue(queue, "w", "l", 1, LEASE)).items;
      expect(item).toMatchObject({ tenant: "acme", priority: HIGH, attempt: 1 });
      expect([...item!.payload]).toEqual([...payload]);
    });

    test("delivers each item once while its lease lasts, to whichever replica asks", async () => {
      for (let i = 0; i < 40; i += 1) await put(`i${i}`);
      const taken = await Promise.all(
        Array.from({ length: 10 }, (_, i) => take(5, { store: i % 2 === 0 ? under.store : under.other })),
      );
      expect(new Set(taken.flat().map((item) => item.name)).size).toBe(40);
      expect(taken.flat()).toHaveLength(40);
    });

    test("gives the tenants turns, however much one of them has put in", async () => {
      for (let i = 0; i < 20; i += 1) await put(`a${i}`, { tenant: "a" });
      for (let i = 0; i < 2; i += 1) await put(`b${i}`, { tenant: "b" });
      expect(await names(6)).toEqual(["a0", "b0", "a1", "b1", "a2", "a3"]);
      await put("c0", { tenant: "c" });
      await put("b2", { tenant: "b" });
      expect((await names(3)).sort()).toEqual(["a4", "b2", "c0"]);
    });

    test("lets overdue items move under constant more important load, and important ones keep most of it", async () => {
      await put("low", { priority: LOW! });
      for (let i = 0; i < 30; i += 1) await put(`c${i}`, { priority: CRITICAL! });
      await under.pass(3 * AGEING - 1);
      expect(await names(8)).not.toContain("low");
      await under.pass(1);
      expect(await names(4)).toContain("low");
      for (let i = 0; i < 10; i += 1) await put(`n${i}`, { priority: NORMAL! });
      await under.pass(2 * AGEING);
      const mixed = await names(12);
      expect(mixed.filter((one) => one.startsWith("n"))).toEqual(["n0", "n1", "n2"]);
    });

    test("holds no more for a worker than it may have in flight", async () => {
      for (let i = 0; i < 5; i += 1) await put(`i${i}`);
      const first = await take(2, { worker: "w" });
      expect(first).toHaveLength(2);
      expect(await take(2, { worker: "w" })).toEqual([]);
      expect(await under.other.ack(queue, first[0]!.id, "lease")).toBe("done");
      expect(await take(2, { worker: "w" })).toHaveLength(1);
      expect(await take(2, { worker: "another" })).toHaveLength(2);
    });

    test("removes what was acknowledged, once", async () => {
      await put("a");
      const [item] = await take(1);
      expect(await under.store.ack(queue, item!.id, "wrong")).toBe("lost");
      expect(await under.store.ack(queue, item!.id, "lease")).toBe("done");
      expect(await under.store.ack(queue, item!.id, "lease")).toBe("unknown");
      await under.pass(LEASE);
      expect(await names(1)).toEqual([]);
    });

    test("delivers again what a worker does not acknowledge, in its old place, and takes nothing from that worker then", async () => {
      await put("a");
      await put("b");
      const [first] = await take(1, { worker: "dead", lease: "first" });
      expect(first).toMatchObject({ name: "a", attempt: 1 });
      await under.pass(LEASE - 1);
      expect((await under.store.dequeue(queue, "w", "second", 0, LEASE)).nextMs).toBe(1);
      await under.pass(1);
      const again = await take(2, { lease: "second" });
      expect(again.map(({ name, attempt }) => [name, attempt])).toEqual([["a", 2], ["b", 1]]);
      expect(await under.store.ack(queue, first!.id, "first")).toBe("lost");
      expect(await under.store.extend(queue, first!.id, "first", LEASE)).toBe("lost");
      expect(await under.store.ack(queue, first!.id, "second")).toBe("done");
      expect(await take(1, { worker: "dead" })).toEqual([]);
    });

    test("holds an item for longer when its lease is extended", async () => {
      await put("a");
      const [item] = await take(1);
      await under.pass(LEASE - 1);
      expect(await under.store.extend(queue, item!.id, "lease", LEASE)).toBe("done");
      await under.pass(LEASE - 1);
      expect(await names(1)).toEqual([]);
      await under.pass(1);
      expect(await names(1)).toEqual(["a"]);
    });

    test("delivers again what is given back, at once or after a delay, and drops it after the last attempt", async () => {
      const id = await put("a");
      await take(1);
      expect(await under.store.nack(queue, id, "lease", 0)).toBe("done");
      expect(await names(1)).toEqual(["a"]);
      expect(await under.store.nack(queue, id, "lease", 5_000)).toBe("done");
      expect(await names(1)).toEqual([]);
      expect(await under.store.counts(queue)).toMatchObject({ delayed: 1 });
      await under.pass(5_000);
      expect(await take(1)).toMatchObject([{ name: "a", attempt: 3 }]);
      expect(await under.store.nack(queue, id, "lease", 0)).toBe("dropped");
      expect(await under.store.counts(queue)).toMatchObject({ dead: 1, redelivered: 2, inFlight: 0 });
      expect(await names(1)).toEqual([]);
    });

    test("drops what is never finished after the last attempt, too", async () => {
      await put("a");
      for (let attempt = 1; attempt <= 3; attempt += 1) {
        expect(await names(1)).toEqual(["a"]);
        await under.pass(LEASE);
      }
      expect(await names(1)).toEqual([]);
      expect((await under.store.counts(queue)).dead).toBe(1);
    });

    test("drops what nobody takes in time, but not what somebody has taken", async () => {
      await put("late", { ttlMs: 5_000 });
      await put("taken", { ttlMs: 5_000, priority: CRITICAL! });
      const [taken] = await take(1);
      await under.pass(5_000);
      expect(await names(1)).toEqual([]);
      expect(await under.store.ack(queue, taken!.id, "lease")).toBe("done");
      expect(await under.store.counts(queue)).toMatchObject({ expired: 1, acknowledged: 1 });
    });

    test("cancels an item of one's own tenant, waiting or in flight", async () => {
      const waiting = await put("waiting");
      const flying = await put("flying", { priority: CRITICAL! });
      await take(1);
      expect(await under.store.cancel(queue, "other", waiting)).toBe("unknown");
      expect(await under.store.cancel(queue, "acme", waiting)).toBe("waiting");
      expect(await under.store.cancel(queue, "acme", flying)).toBe("in_flight");
      expect(await under.store.cancel(queue, "acme", flying)).toBe("unknown");
      expect(await under.store.extend(queue, flying, "lease", LEASE)).toBe("unknown");
      expect(await names(2)).toEqual([]);
      expect(await under.store.counts(queue)).toMatchObject({ cancelled: 2, inFlight: 0 });
    });

    test("is bounded, for everyone and for each tenant, and has room again when something leaves", async () => {
      queue = { ...queue, maxDepth: 5, maxTenantDepth: 3 };
      const ids = [await put("1"), await put("2"), await put("3")];
      expect(await put("4")).toBe("full tenant");
      await put("5", { tenant: "b" });
      await put("6", { tenant: "b" });
      expect(await put("7", { tenant: "b" })).toBe("full queue");
      await take(1);
      expect(await put("8", { tenant: "c" })).toBe("full queue");
      await under.store.ack(queue, ids[0]!, "lease");
      expect(await put("9", { tenant: "c" })).not.toContain("full");
    });

    test("answers a repeated enqueue with the first one's item, for each tenant", async () => {
      const first = await put("a", { idempotencyKey: "k" });
      expect(await put("b", { idempotencyKey: "k" })).toBe(first);
      expect(await put("c", { idempotencyKey: "k", tenant: "other" })).not.toBe(first);
      expect(await names(3)).toEqual(["a", "c"]);
    });

    test("counts", async () => {
      await put("c", { priority: CRITICAL! });
      await under.pass(1_000);
      await put("n1");
      await under.pass(2_000);
      await put("n2");
      expect(await under.store.counts(queue)).toEqual({
        waiting: [
          { depth: 1, oldestAgeMs: 3_000 },
          { depth: 0, oldestAgeMs: 0 },
          { depth: 2, oldestAgeMs: 2_000 },
          { depth: 0, oldestAgeMs: 0 },
        ],
        delayed: 0,
        inFlight: 0,
        enqueued: 3,
        acknowledged: 0,
        redelivered: 0,
        expired: 0,
        dead: 0,
        cancelled: 0,
      });
    });

    test("tells those who watch that there may be work, on every replica", async () => {
      const heard = { here: 0, there: 0 };
      const ends = [under.store.watch(queue, () => (heard.here += 1)), under.other.watch(queue, () => (heard.there += 1))];
      onTestFinished(() => ends.forEach((end) => end()));
      await expect
        .poll(async () => {
          await put("a").catch(() => {});
          return heard.here > 0 && heard.there > 0;
        })
        .toBe(true);
      const [item] = await take(1);
      const before = heard.there;
      await under.store.ack(queue, item!.id, "lease");
      await expect.poll(() => heard.there).toBeGreaterThan(before);
    });

    test("does not run backwards with the clock", async () => {
      await put("a");
      await under.pass(-60_000);
      const counts = await under.store.counts(queue);
      expect(counts.waiting[2]).toEqual({ depth: 1, oldestAgeMs: 0 });
    });
  });
}
