import type { CheckpointStore, Lease, ThreadKey } from "../store.js";
import { allThreadKeys, CLEANING_KEY, LEASES_KEY, memberOf, threadKeys, threadOf } from "./keys.js";
import { ACQUIRE, RELEASE, RENEW, TAKE_TURN } from "./scripts.js";
import { guarded, type RedisStoreContext } from "./session.js";

type Methods = Pick<CheckpointStore, "acquireLease" | "renewLease" | "releaseLease" | "expiredLeases" | "takeCleaningTurn">;

/** Who may write a thread, and who cleans. */
export function redisLeases({ client, script }: RedisStoreContext): Methods {
  return {
    async acquireLease(thread, owner, expiresAt, now, takeOver = false) {
      const args = [now.getTime(), owner, expiresAt.getTime(), takeOver ? 1 : 0];
      const [granted, ...held] = await script<[number, Buffer, Buffer, Buffer]>(ACQUIRE, allThreadKeys(thread), args);
      if (granted === 1) await guarded(() => client.zadd(LEASES_KEY, expiresAt.getTime(), memberOf(thread)));
      return { granted: granted === 1, lease: toLease(held) };
    },

    async renewLease(thread, token, expiresAt) {
      const owner = await script<Buffer | null>(RENEW, allThreadKeys(thread), [String(token), expiresAt.getTime()]);
      return owner === null ? undefined : { owner: owner.toString(), token, expiresAt };
    },

    async releaseLease(thread, token) {
      await script(RELEASE, allThreadKeys(thread), [String(token)]);
      await refreshHint(thread);
    },

    async expiredLeases(ownerPrefix, now, count) {
      const found: (ThreadKey & { lease: Lease })[] = [];
      const members = await guarded(() => client.zrangebyscore(LEASES_KEY, "-inf", now.getTime(), "LIMIT", 0, MOST_HINTS));
      for (const thread of members.map(threadOf)) {
        const lease = await leaseOf(thread);
        // Renewed, taken over or given back since the hint was written.
        if (lease === undefined || lease.expiresAt > now) await refreshHint(thread);
        else if (lease.owner.startsWith(ownerPrefix)) found.push({ ...thread, lease });
        if (found.length === count) break;
      }
      return found;
    },

    async takeCleaningTurn(owner, until, now) {
      return (await script<number>(TAKE_TURN, [CLEANING_KEY], [owner, until.getTime(), now.getTime()])) === 1;
    },
  };

  async function leaseOf(thread: ThreadKey): Promise<Lease | undefined> {
    const [owner, token, expires] = await guarded(() => client.hmgetBuffer(threadKeys(thread).thread, "lo", "lt", "le"));
    return owner && token && expires ? toLease([owner, token, expires]) : undefined;
  }

  async function refreshHint(thread: ThreadKey): Promise<void> {
    const lease = await leaseOf(thread);
    if (lease === undefined) await guarded(() => client.zrem(LEASES_KEY, memberOf(thread)));
    else await guarded(() => client.zadd(LEASES_KEY, lease.expiresAt.getTime(), memberOf(thread)));
  }
}

/** Hints that are looked at in one search for leases that ended: most are of leases that were renewed since. */
const MOST_HINTS = 1_000;

function toLease([owner, token, expires]: [Buffer, Buffer, Buffer]): Lease {
  return { owner: owner.toString(), token: BigInt(token.toString()), expiresAt: new Date(Number(expires.toString())) };
}
