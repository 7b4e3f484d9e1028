import type { CheckpointStore, Lease } from "../store.js";
import { allThreadKeys, CLEANING_KEY } from "./keys.js";
import { ACQUIRE, RELEASE, RENEW, TAKE_TURN } from "./scripts.js";
import type { RedisStoreContext } from "./session.js";

type Methods = Pick<CheckpointStore, "acquireLease" | "renewLease" | "releaseLease" | "takeCleaningTurn">;

/** Who may write a thread, and who cleans. */
export function redisLeases({ script }: RedisStoreContext): Methods {
  return {
    async acquireLease(thread, owner, expiresAt, now, takeOver = false) {
      const args = [now.getTime(), owner, expiresAt.getTime(), takeOver ? 1 : 0];
      const [granted, ...held] = await script<[number, Buffer, Buffer, Buffer]>(ACQUIRE, allThreadKeys(thread), args);
      return { granted: granted === 1, lease: toLease(held) };
    },

    async renewLease(thread, token, expiresAt) {
      const owner = await script<Buffer | null>(RENEW, allThreadKeys(thread), [String(token), expiresAt.getTime()]);
      return owner === null ? undefined : { owner: owner.toString(), token, expiresAt };
    },

    async releaseLease(thread, token) {
      await script(RELEASE, allThreadKeys(thread), [String(token)]);
    },

    async takeCleaningTurn(owner, until, now) {
      return (await script<number>(TAKE_TURN, [CLEANING_KEY], [owner, until.getTime(), now.getTime()])) === 1;
    },
  };
}

function toLease([owner, token, expires]: [Buffer, Buffer, Buffer]): Lease {
  return { owner: owner.toString(), token: BigInt(token.toString()), expiresAt: new Date(Number(expires.toString())) };
}
