import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Clock } from "../../runtime/clock.js";
import { silentLogger } from "../../runtime/logger.js";
import { openPglite } from "../../runtime/sql/pglite.js";
import { Cleaning, sweepTimeOf, UNNAMED_CONTENTS_MS } from "./cleaning.js";
import { hashOf, packContent } from "./content.js";
import { packValue } from "./packed-value.js";
import type { CheckpointStore, ThreadKey } from "./store.js";
import { openSqlCheckpointStore } from "./store-sql.js";
import { clearSqlStore } from "./store-sql.suite.js";

const DAY = 86_400_000;
const INTERVAL = 60_000;
const thread: ThreadKey = { tenant: "acme", threadId: "talk" };

describe("cleaning", () => {
  let store: CheckpointStore;
  let clear: () => Promise<void>;
  let time: number;
  let wake: (() => void)[];
  const running: Cleaning[] = [];
  const clock: Clock = {
    now: () => time,
    monotonic: () => time,
    sleep: (_, signal) =>
      new Promise((resolve, reject) => {
        wake.push(resolve);
        signal?.addEventListener("abort", () => reject(signal.reason));
      }),
  };

  beforeAll(async () => {
    const db = await openPglite();
    store = await openSqlCheckpointStore(db, { ttlMs: DAY });
    clear = () => clearSqlStore(db);
  });
  beforeEach(async () => {
    await clear();
    time = Date.parse("2026-01-01");
    wake = [];
  });
  afterEach(async () => {
    for (const cleaning of running.splice(0)) await cleaning.stop();
  });
  afterAll(() => store.close());

  function newCleaning(maxCheckpoints: number, on: CheckpointStore = store): Cleaning {
    const cleaning = new Cleaning({ store: on, clock, logger: silentLogger, maxCheckpoints, intervalMs: INTERVAL });
    running.push(cleaning);
    return cleaning;
  }
  /** Lets the time until threads are pruned pass, and waits for it. */
  async function pruned(cleaning: Cleaning) {
    wake.splice(0).forEach((resolve) => resolve());
    await cleaning.settled();
  }
  /** The store, with the threads that were looked at for what can go. */
  function watched() {
    const looked: string[] = [];
    const deleteCheckpoints: CheckpointStore["deleteCheckpoints"] = (of, choose) => (looked.push(of.threadId), store.deleteCheckpoints(of, choose));
    return { looked, on: { ...store, deleteCheckpoints } };
  }
  const segment = (text: string) => ({ hash: hashOf(Buffer.from(text)), stored: packContent(Buffer.from(text)) });
  async function put(id: string, options: { thread?: ThreadKey; parentId?: string; needsParent?: boolean } = {}) {
    const { hash, stored } = segment(`content of ${id}`);
    const value = packValue({ encoding: "json", refs: [{ level: 0, hash }], tail: Buffer.alloc(0) });
    const checkpoint = {
      namespace: "",
      checkpointId: id,
      parentId: options.parentId,
      data: Buffer.alloc(4),
      metadata: "{}",
      needsParent: options.needsParent ?? false,
      channels: [{ channel: "c", version: id, value, unchanged: false }],
    };
    const addition = { contents: [{ hash, stored }], required: [] };
    return store.put(options.thread ?? thread, { checkpoint, writes: [] }, addition, { fencingToken: 0n, now: new Date(time) });
  }
  const ids = async () => {
    const query = { ...thread, namespace: undefined, checkpointId: undefined, before: undefined, filter: undefined };
    return (await store.list(query, undefined, 100, new Date(time))).map(({ checkpointId }) => checkpointId);
  };

  test("prunes a thread soon after the put that made it too long, once for the puts that followed", async () => {
    const { looked, on } = watched();
    const cleaning = newCleaning(3, on);
    for (let i = 1; i <= 6; i += 1) {
      const { checkpointCount } = await put(String(i));
      cleaning.notice(thread, checkpointCount);
    }
    await pruned(cleaning);
    expect(await ids()).toEqual(["6", "5", "4"]);
    expect(looked).toEqual(["talk"]);
  });

  test("does not look again at a thread whose checkpoints need each other until it has grown", async () => {
    const { looked, on } = watched();
    const cleaning = newCleaning(2, on);
    for (let i = 1; i <= 5; i += 1) {
      const { checkpointCount } = await put(String(i), i === 1 ? {} : { parentId: String(i - 1), needsParent: true });
      cleaning.notice(thread, checkpointCount);
      await pruned(cleaning);
      cleaning.notice(thread, checkpointCount);
      await pruned(cleaning);
    }
    expect(await ids()).toHaveLength(5);
    expect(looked).toHaveLength(3);
  });

  test("keeps everything when it is told to", async () => {
    const cleaning = newCleaning(0);
    for (let i = 1; i <= 30; i += 1) cleaning.notice(thread, (await put(String(i).padStart(2, "0"))).checkpointCount);
    await pruned(cleaning);
    await cleaning.round();
    expect(await ids()).toHaveLength(30);
  });

  test("removes in its rounds what expired, what is too long, and what nothing names", async () => {
    const cleaning = newCleaning(2);
    for (let i = 0; i < 45; i += 1) await put("1", { thread: { tenant: "acme", threadId: `old ${i}` } });
    time += DAY;
    for (let i = 1; i <= 4; i += 1) await put(String(i));
    await store.putContents(thread, [segment("ahead")], sweepTimeOf(new Date(time)), { fencingToken: 0n, now: new Date(time) });
    time += UNNAMED_CONTENTS_MS + 1;
    expect(await cleaning.round()).toBe(true);
    expect(await ids()).toEqual(["4", "3"]);
    const kept = segment("content of 3").stored.length + segment("content of 4").stored.length;
    expect(await store.stats("acme")).toMatchObject({ threads: 1, checkpoints: 2, storedBytes: kept });
  });

  test("is one replica's at a time, and another's when that one is gone", async () => {
    const [first, second] = [newCleaning(1), newCleaning(1)];
    expect([await first.round(), await second.round(), await first.round()]).toEqual([true, false, true]);
    time += 3 * INTERVAL;
    expect([await second.round(), await first.round()]).toEqual([true, false]);
  });

  test("goes on in rounds after one failed, and ends when it is told to", async () => {
    let rounds = 0;
    const failing: CheckpointStore = {
      ...store,
      takeCleaningTurn: () => {
        rounds += 1;
        return rounds === 1 ? Promise.reject(new Error("no database")) : store.takeCleaningTurn("x", new Date(time), new Date(time));
      },
    };
    const cleaning = newCleaning(1, failing);
    cleaning.start();
    for (let round = 1; round <= 3; round += 1) {
      await expect.poll(() => wake.length).toBe(1);
      wake.splice(0).forEach((resolve) => resolve());
      await expect.poll(() => rounds).toBe(round);
    }
    await cleaning.stop();
  });
});
