import { unpackValue } from "../packed-value.js";
import type { SegmentRef } from "../segment-tree.js";
import type { CheckpointAge, CheckpointStore, CopyOutcome, Lease, ThreadKey, ThreadSummary } from "../store.js";
import { hashKey } from "../content.js";
import { allThreadKeys, COUNTS_KEY, EXPIRY_KEY, memberOf, placeOf, splitPlace, SWEEP_KEY, threadKeys, threadOf, threadsKey } from "./keys.js";
import { unpackRecord, unpackWrites } from "./records.js";
import { DELETE_CHECKPOINTS, DUMP, ERASE, RESTORE, SWEEP } from "./scripts.js";
import { guarded, type RedisStoreContext } from "./session.js";

type Methods = Pick<
  CheckpointStore,
  | "thread"
  | "threads"
  | "deleteThread"
  | "copyThreads"
  | "deleteCheckpoints"
  | "sweepContents"
  | "stats"
  | "deleteExpired"
  | "threadsAbove"
  | "threadsToSweep"
>;

/** Threads that one step looks at. */
const PAGE = 100;
/** Contents that one script deletes. */
const SWEEP_BATCH = 1_000;
/** Tries while writers come in between. */
const ATTEMPTS = 10;

const FIELDS = ["c", "u", "e", "n", "b", "lo", "lt", "le"] as const;

/** Threads as a whole: their sums, copying, and deleting what is not kept. */
export function redisThreads({ client, script, expiry }: RedisStoreContext, contents: CheckpointStore["contents"]): Methods {
  async function summary(thread: ThreadKey, now: Date): Promise<ThreadSummary | undefined> {
    const values = await guarded(() => client.hmget(threadKeys(thread).thread, ...FIELDS));
    return toSummary(thread, values, now);
  }

  async function copyThread(source: ThreadKey, targetId: string, now: Date): Promise<CopyOutcome> {
    const [count, bytes, ...dumps] = await script<(Buffer | null)[]>(DUMP, allThreadKeys(source), [now.getTime()]);
    if (count === undefined || count === null) return "no source";
    const target = { tenant: source.tenant, threadId: targetId };
    const [expires, ttl] = expiry(now);
    await guarded(() => client.zadd(threadsKey(target.tenant), 0, target.threadId));
    if (expires !== "") await guarded(() => client.zadd(EXPIRY_KEY, "NX", expires, memberOf(target)));
    const args = [now.getTime(), expires, ttl, count, bytes ?? "0", ...dumps.map((dump) => dump ?? "")];
    return (await script<number>(RESTORE, allThreadKeys(target), args)) === 1 ? "copied" : "target exists";
  }

  /** All of the tenant's thread ids in a range, page by page. */
  async function* threadIds(tenant: string, from: string, to: string): AsyncGenerator<string[]> {
    for (let start = from; ; ) {
      const ids = await guarded(() => client.zrangebylex(threadsKey(tenant), start, to, "LIMIT", 0, PAGE));
      const last = ids.at(-1);
      if (last === undefined) return;
      yield ids;
      start = `(${last}`;
    }
  }

  async function forget(thread: ThreadKey): Promise<void> {
    const member = memberOf(thread);
    await guarded(() =>
      Promise.all([
        client.zrem(threadsKey(thread.tenant), thread.threadId),
        ...[COUNTS_KEY, EXPIRY_KEY, SWEEP_KEY].map((key) => client.zrem(key, member)),
      ]),
    );
  }

  /** Retries `change` while it answers that a writer came in between. */
  async function unlessChanged<T>(change: () => Promise<T | undefined>): Promise<T | undefined> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const done = await change();
      if (done !== undefined) return done;
    }
    return undefined;
  }

  return {
    thread: summary,

    async threads(tenant, prefix, after, count, now) {
      const found: ThreadSummary[] = [];
      const from = Buffer.compare(Buffer.from(after), Buffer.from(prefix)) >= 0 && after !== "" ? `(${after}` : `[${prefix}`;
      for await (const ids of threadIds(tenant, from, "+")) {
        const inside = ids.filter((threadId) => threadId.startsWith(prefix));
        const summaries = await Promise.all(inside.map((threadId) => summary({ tenant, threadId }, now)));
        found.push(...summaries.filter((one) => one !== undefined));
        if (found.length >= count || inside.length < ids.length) break;
      }
      return found.slice(0, count);
    },

    async deleteThread(thread) {
      await script(ERASE, allThreadKeys(thread), [""]);
      await forget(thread);
    },

    copyThreads: (tenant, copies, now) =>
      Promise.all(copies.map(({ source, target }) => copyThread({ tenant, threadId: source }, target, now))),

    async deleteCheckpoints(thread, choose) {
      const keys = threadKeys(thread);
      const deleted = await unlessChanged(async () => {
        const revision = (await guarded(() => client.hgetBuffer(keys.thread, "r"))) ?? "";
        const records = await guarded(() => client.hgetallBuffer(keys.checkpoints));
        const all = await guarded(() => client.zrangebylexBuffer(keys.index, "-", "+"));
        const ages = all.map((place): CheckpointAge => {
          const record = records[place.toString()];
          const { parentId, needsParent } = record === undefined ? {} : unpackRecord(record);
          return { ...splitPlace(place), parentId, needsParent: needsParent ?? false };
        });
        const chosen = choose(ages);
        if (chosen.length === 0) return 0;
        const places = chosen.map(({ namespace, checkpointId }) => placeOf(namespace, checkpointId));
        const left = await script<number>(DELETE_CHECKPOINTS, allThreadKeys(thread), [revision, ...places]);
        if (left < 0) return undefined;
        const member = memberOf(thread);
        await guarded(() => Promise.all([client.zadd(COUNTS_KEY, left, member), client.zadd(SWEEP_KEY, 0, member)]));
        return chosen.length;
      });
      return deleted ?? 0;
    },

    async sweepContents(thread, before, again) {
      const keys = threadKeys(thread);
      const swept = await unlessChanged(async () => {
        const revision = (await guarded(() => client.hgetBuffer(keys.thread, "r"))) ?? "";
        const [records, writes, hashes, young] = await guarded(() =>
          Promise.all([
            client.hvalsBuffer(keys.checkpoints),
            client.hvalsBuffer(keys.writes),
            client.hkeysBuffer(keys.contents),
            client.zrangebyscoreBuffer(keys.ahead, before.getTime(), "+inf"),
          ]),
        );
        const values = [
          ...records.flatMap((record) => unpackRecord(record).channels.flatMap(({ value }) => value ?? [])),
          ...writes.flatMap((packed) => unpackWrites(packed).map(({ value }) => value)),
        ];
        const named = await contents(thread, nodesAndSegments(values));
        const waiting = new Set(young.map(hashKey).filter((key) => !named.has(key)));
        const dead = hashes.filter((hash) => !named.has(hashKey(hash)) && !waiting.has(hashKey(hash)));
        let deleted = 0;
        for (let i = 0; i < dead.length; i += SWEEP_BATCH) {
          const some = await script<number>(SWEEP, allThreadKeys(thread), [revision, ...dead.slice(i, i + SWEEP_BATCH)]);
          if (some < 0) return undefined;
          deleted += some;
        }
        await guarded(() => client.zremrangebyscore(keys.ahead, "-inf", `(${before.getTime()}`));
        return { deleted, waiting: waiting.size };
      });
      const member = memberOf(thread);
      // Without an answer writers kept coming in between: it is tried again in the next round.
      if (swept?.waiting === 0) await guarded(() => client.zrem(SWEEP_KEY, member));
      else if (swept !== undefined) await guarded(() => client.zadd(SWEEP_KEY, again.getTime(), member));
      return swept?.deleted ?? 0;
    },

    async stats(tenant) {
      const sums = { threads: 0, checkpoints: 0, storedBytes: 0, oldestUpdate: undefined as Date | undefined };
      for await (const ids of threadIds(tenant, "-", "+")) {
        const all = await Promise.all(ids.map((threadId) => summary({ tenant, threadId }, new Date(0))));
        for (const one of all) {
          if (one === undefined) continue;
          sums.threads += 1;
          sums.checkpoints += one.checkpointCount;
          sums.storedBytes += one.storedBytes;
          if (sums.oldestUpdate === undefined || one.updatedAt < sums.oldestUpdate) sums.oldestUpdate = one.updatedAt;
        }
      }
      return sums;
    },

    async deleteExpired(now, count) {
      const members = await guarded(() => client.zrangebyscore(EXPIRY_KEY, "-inf", now.getTime(), "LIMIT", 0, count));
      for (const thread of members.map(threadOf)) {
        if ((await script<number>(ERASE, allThreadKeys(thread), [now.getTime()])) === 1) await forget(thread);
        // Used since the hint was written.
        else await refreshHint(thread);
      }
      return members.length;
    },

    async threadsAbove(checkpoints, count) {
      const members = await guarded(() => client.zrangebyscore(COUNTS_KEY, `(${checkpoints}`, "+inf", "LIMIT", 0, count));
      return members.map(threadOf);
    },

    async threadsToSweep(now, count) {
      const members = await guarded(() => client.zrangebyscore(SWEEP_KEY, "-inf", now.getTime(), "LIMIT", 0, count));
      return members.map(threadOf);
    },
  };

  async function refreshHint(thread: ThreadKey): Promise<void> {
    const expires = await guarded(() => client.hget(threadKeys(thread).thread, "e"));
    if (expires === null) await guarded(() => client.zrem(EXPIRY_KEY, memberOf(thread)));
    else await guarded(() => client.zadd(EXPIRY_KEY, Number(expires), memberOf(thread)));
  }
}

function nodesAndSegments(values: readonly Buffer[]): SegmentRef[] {
  return values.flatMap((value) => unpackValue(value).refs);
}

function toSummary(thread: ThreadKey, values: readonly (string | null)[], now: Date): ThreadSummary | undefined {
  const [created, updated, expires, count, bytes, owner, token, leaseEnd] = values;
  if (!Number(count) || (expires && Number(expires) <= now.getTime())) return undefined;
  const lease: Lease | undefined =
    owner && token && Number(leaseEnd) > now.getTime()
      ? { owner, token: BigInt(token), expiresAt: new Date(Number(leaseEnd)) }
      : undefined;
  return {
    tenant: thread.tenant,
    threadId: thread.threadId,
    createdAt: new Date(Number(created)),
    updatedAt: new Date(Number(updated)),
    expiresAt: expires ? new Date(Number(expires)) : undefined,
    checkpointCount: Number(count),
    storedBytes: Number(bytes ?? 0),
    lease,
  };
}
