import { HASH_BYTES, hashKey } from "../content.js";
import { leaseLost, threadLeased } from "../errors.js";
import { unpackValue } from "../packed-value.js";
import { childrenOf, type SegmentRef } from "../segment-tree.js";
import type {
  Addition,
  CheckpointKey,
  CheckpointPut,
  CheckpointStore,
  ListQuery,
  PutOutcome,
  StoredCheckpoint,
  ThreadKey,
  WriteContext,
} from "../store.js";
import { CONTENT_HEADER_BYTES } from "../content.js";
import { allThreadKeys, COUNTS_KEY, EXPIRY_KEY, memberOf, placeOf, splitPlace, SWEEP_KEY, threadKeys, threadsKey } from "./keys.js";
import { matchesFilter } from "./metadata-filter.js";
import { type CheckpointRecord, packRecord, packWrite, toCheckpoint, unpackRecord } from "./records.js";
import { GET, PUT, PUT_CONTENTS } from "./scripts.js";
import { guarded, type RedisArgument, type RedisStoreContext } from "./session.js";

type Methods = Pick<CheckpointStore, "put" | "putContents" | "get" | "list" | "contents">;

/** Records that one call reads. */
const RECORDS_PER_CALL = 50;
/** Contents that one call reads. */
const CONTENTS_PER_CALL = 512;
/** Threads that a list looks at together. */
const THREADS_PER_CALL = 20;

/** Storing and reading checkpoints. `ttlMs` is the life of a thread that is not used. */
export function redisCheckpoints({ client, script, expiry }: RedisStoreContext, ttlMs: number | undefined): Methods {
  /** So that the thread is found in lists and when it expires; before it is written, for a crash in between. */
  function announce(thread: ThreadKey, now: Date): Promise<unknown> {
    const [expires] = expiry(now);
    const commands: Promise<unknown>[] = [client.zadd(threadsKey(thread.tenant), 0, thread.threadId)];
    if (expires !== "") commands.push(client.zadd(EXPIRY_KEY, expires, memberOf(thread)));
    return Promise.all(commands);
  }

  async function write(
    thread: ThreadKey,
    command: typeof PUT,
    args: readonly RedisArgument[],
    { fencingToken, now }: WriteContext,
  ): Promise<PutOutcome> {
    const head = [now.getTime(), String(fencingToken), ...expiry(now)];
    const announced = guarded(() => announce(thread, now));
    const [[outcome, detail]] = await Promise.all([
      script<[Buffer, Buffer | number]>(command, allThreadKeys(thread), [...head, ...args]),
      announced,
    ]);
    switch (outcome.toString()) {
      case "ok": {
        const checkpointCount = Number(detail);
        // A hint for the cleaning; the next put repeats it.
        client.zadd(COUNTS_KEY, checkpointCount, memberOf(thread)).catch(() => {});
        return { missing: [], checkpointCount };
      }
      case "missing":
        return { missing: split(detail as Buffer), checkpointCount: 0 };
      case "leased":
        throw threadLeased(thread.threadId, Number(detail.toString()) - now.getTime());
      default:
        throw leaseLost(thread.threadId);
    }
  }

  /** What the channels of a put hold: what is unchanged is the parent's, or of the newest checkpoint with that version. */
  async function resolveChannels(thread: ThreadKey, put: CheckpointPut): Promise<CheckpointRecord["channels"]> {
    if (!put.channels.some(({ unchanged }) => unchanged)) return put.channels;
    const keys = threadKeys(thread);
    const parent =
      put.parentId === undefined ? null : await guarded(() => client.hgetBuffer(keys.checkpoints, placeOf(put.namespace, put.parentId as string)));
    const known = parent === null ? [] : unpackRecord(parent).channels;
    const open = new Map<string, Buffer | undefined>();
    const resolved = put.channels.map(({ channel, version, value, unchanged }) => {
      if (!unchanged) return { channel, version, value };
      const same = known.find((other) => other.channel === channel && other.version === version);
      if (same === undefined) open.set(keyOf(channel, version), undefined);
      return { channel, version, value: same?.value };
    });
    if (open.size === 0) return resolved;
    await findValues(thread, put.namespace, open);
    return resolved.map((one) => ({ ...one, value: one.value ?? open.get(keyOf(one.channel, one.version)) }));
  }

  /** For a copy of a checkpoint that hangs elsewhere in the tree: its values are where these versions were written. */
  async function findValues(thread: ThreadKey, namespace: string, open: Map<string, Buffer | undefined>): Promise<void> {
    const keys = threadKeys(thread);
    const [least, above] = placesOf(namespace);
    const places = await guarded(() => client.zrevrangebylexBuffer(keys.index, above, least));
    for (let i = 0; i < places.length && [...open.values()].includes(undefined); i += RECORDS_PER_CALL) {
      const records = await guarded(() => client.hmgetBuffer(keys.checkpoints, ...places.slice(i, i + RECORDS_PER_CALL)));
      for (const { channel, version, value } of records.flatMap((record) => (record === null ? [] : unpackRecord(record).channels))) {
        const key = keyOf(channel, version);
        if (value !== undefined && open.has(key) && open.get(key) === undefined) open.set(key, value);
      }
    }
  }

  return {
    async put(thread, { checkpoint, writes }, addition, context) {
      const channels = checkpoint === undefined ? [] : await resolveChannels(thread, checkpoint);
      const inherited = channels.flatMap(({ value }, i) =>
        checkpoint?.channels[i]?.unchanged === true && value !== undefined ? unpackValue(value).refs.map(({ hash }) => hash) : [],
      );
      const args: RedisArgument[] = [
        // What is taken over must still be there when the script runs.
        Buffer.concat([...addition.required, ...inherited]),
        checkpoint === undefined ? "" : placeOf(checkpoint.namespace, checkpoint.checkpointId),
        checkpoint === undefined ? "" : packRecord(checkpoint, channels, context.now),
        ...contentArguments(addition.contents),
      ];
      for (const one of writes) {
        args.push(placeOf(one.namespace, one.checkpointId), ...packWrite(one), one.index < 0 ? "1" : "0");
      }
      return write(thread, PUT, args, context);
    },

    async putContents(thread, contents, sweepAt, context) {
      await write(thread, PUT_CONTENTS, contentArguments(contents), context);
      await guarded(() => client.zadd(SWEEP_KEY, "NX", sweepAt.getTime(), memberOf(thread)));
    },

    async get(thread, namespace, checkpointId, now) {
      const [expires, ttl] = expiry(now);
      // Written at most sixteen times in a thread's life span, however often it is read.
      const refreshBefore = expires === "" ? "" : expires - (ttlMs ?? 0) / 16;
      const place = checkpointId === undefined ? "" : placeOf(namespace, checkpointId);
      const args = [now.getTime(), ...placesOf(namespace), place, expires, ttl, refreshBefore];
      const [found, record, writes, refreshed] = await script<[Buffer?, Buffer?, (Buffer | null)?, number?]>(GET, allThreadKeys(thread), args);
      if (refreshed === 1 && expires !== "") await guarded(() => client.zadd(EXPIRY_KEY, expires, memberOf(thread)));
      if (found === undefined || found === null || record === undefined) return undefined;
      return toCheckpoint(thread, splitPlace(found), unpackRecord(record), writes ?? null);
    },

    async list(query, after, count, now) {
      const listed: StoredCheckpoint[] = [];
      if (query.threadId !== undefined) return listThread({ ...query, threadId: query.threadId }, after, count, now);
      let from = after?.threadId;
      if (after !== undefined) listed.push(...(await listThread({ ...query, threadId: after.threadId }, after, count, now)));
      while (listed.length < count) {
        const start = from === undefined ? "-" : `(${from}`;
        const ids = await guarded(() => client.zrangebylex(threadsKey(query.tenant), start, "+", "LIMIT", 0, THREADS_PER_CALL));
        for (const threadId of ids) {
          if (listed.length < count) listed.push(...(await listThread({ ...query, threadId }, undefined, count - listed.length, now)));
        }
        from = ids.at(-1);
        if (from === undefined) break;
      }
      return listed;
    },

    async contents(thread, refs) {
      const keys = threadKeys(thread);
      const found = new Map<string, Buffer>();
      let wanted = new Map(refs.map((ref) => [hashKey(ref.hash), ref]));
      while (wanted.size > 0) {
        const below = new Map<string, SegmentRef>();
        const all = [...wanted.values()];
        for (let i = 0; i < all.length; i += CONTENTS_PER_CALL) {
          const some = all.slice(i, i + CONTENTS_PER_CALL);
          const values = await guarded(() => client.hmgetBuffer(keys.contents, ...some.map(({ hash }) => hash)));
          some.forEach(({ level, hash }, n) => {
            const value = values[n];
            if (value === null || value === undefined) return;
            found.set(hashKey(hash), value);
            if (level === 0) return;
            for (const child of childrenOf(value.subarray(CONTENT_HEADER_BYTES))) {
              if (!found.has(hashKey(child))) below.set(hashKey(child), { level: level - 1, hash: child });
            }
          });
        }
        wanted = below;
      }
      return found;
    },
  };

  /** A thread's checkpoints, newest first, after `after`. */
  async function listThread(
    query: ListQuery & { threadId: string },
    after: CheckpointKey | undefined,
    count: number,
    now: Date,
  ): Promise<StoredCheckpoint[]> {
    const keys = threadKeys(query);
    const [expires, all] = await guarded(() => Promise.all([client.hget(keys.thread, "e"), client.zrangebylexBuffer(keys.index, "-", "+")]));
    if (expires !== null && Number(expires) <= now.getTime()) return [];
    const places = all
      .map((place) => ({ ...splitPlace(place), place }))
      .filter(({ namespace, checkpointId }) => isWanted(query, namespace, checkpointId))
      .sort(newestFirst);
    const rest = after === undefined ? places : places.filter((place) => newestFirst(place, after) > 0);
    const found: StoredCheckpoint[] = [];
    for (let i = 0; i < rest.length && found.length < count; i += RECORDS_PER_CALL) {
      const some = rest.slice(i, i + RECORDS_PER_CALL);
      const fields = some.map(({ place }) => place);
      const [records, writes] = await guarded(() =>
        Promise.all([client.hmgetBuffer(keys.checkpoints, ...fields), client.hmgetBuffer(keys.writes, ...fields)]),
      );
      some.forEach(({ namespace, checkpointId }, n) => {
        const record = records[n] && unpackRecord(records[n]);
        if (!record || found.length === count || !matchesFilter(record.metadata, query.filter)) return;
        found.push(toCheckpoint(query, { namespace, checkpointId }, record, writes[n] ?? null));
      });
    }
    return found;
  }
}

/** The range of a namespace's places. */
function placesOf(namespace: string): [least: Buffer, above: Buffer] {
  return [Buffer.from(`[${namespace}\0`), Buffer.from(`(${namespace}\u0001`)];
}

function isWanted(query: ListQuery, namespace: string, checkpointId: string): boolean {
  return (
    (query.namespace === undefined || namespace === query.namespace) &&
    (query.checkpointId === undefined || checkpointId === query.checkpointId) &&
    (query.before === undefined || compareText(checkpointId, query.before) < 0)
  );
}

function newestFirst(a: { namespace: string; checkpointId: string }, b: { namespace: string; checkpointId: string }): number {
  return compareText(b.checkpointId, a.checkpointId) || compareText(a.namespace, b.namespace);
}

/** By bytes, as the database sorts. */
function compareText(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function contentArguments(contents: Addition["contents"]): RedisArgument[] {
  return [contents.length, ...contents.flatMap(({ hash, stored }) => [hash, stored])];
}

function keyOf(channel: string, version: string): string {
  return `${channel}\0${version}`;
}

function split(hashes: Buffer): Buffer[] {
  return Array.from({ length: hashes.length / HASH_BYTES }, (_, i) => hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
}
