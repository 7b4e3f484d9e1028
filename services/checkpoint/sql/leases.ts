import type { PreparedStatement } from "../../../runtime/sql/database.js";
import type { CheckpointStore } from "../store.js";
import { type LeaseRow, toLease } from "./rows.js";
import { query, type SqlStoreContext } from "./session.js";

const ACQUIRE: PreparedStatement = {
  name: "checkpoint_acquire_lease",
  text: `insert into checkpoint.threads as t (tenant, thread_id, created_at, updated_at, lease_token, lease_owner, lease_expires_at)
    values ($1, $2, $5, $5, nextval('checkpoint.lease_tokens'), $3, $4)
    on conflict (tenant, thread_id) do update set
      lease_token = excluded.lease_token, lease_owner = excluded.lease_owner, lease_expires_at = excluded.lease_expires_at
    where t.lease_owner is null or t.lease_owner = $3 or t.lease_expires_at <= $5 or $6
    returning lease_token, lease_owner, lease_expires_at`,
};

/** The token is used up: puts of the old holder that are still on their way come too late. */
const RELEASE: PreparedStatement = {
  name: "checkpoint_release_lease",
  text: `update checkpoint.threads set lease_owner = null, lease_expires_at = null, lease_token = nextval('checkpoint.lease_tokens')
    where tenant = $1 and thread_id = $2 and lease_token = $3`,
};

type Methods = Pick<CheckpointStore, "acquireLease" | "renewLease" | "releaseLease" | "expiredLeases" | "takeCleaningTurn">;

/** Who may write a thread, and who cleans. */
export function sqlLeases({ db }: SqlStoreContext): Methods {
  return {
    async acquireLease({ tenant, threadId }, owner, expiresAt, now, takeOver = false) {
      const [granted] = await query<LeaseRow>(
        db,
        ACQUIRE,
        [tenant, threadId, owner, expiresAt, now, takeOver],
      );
      if (granted !== undefined) return { granted: true, lease: toLease(granted) };
      const [held] = await query<LeaseRow>(
        db,
        "select lease_token, lease_owner, lease_expires_at from checkpoint.threads where tenant = $1 and thread_id = $2 and lease_owner is not null",
        [tenant, threadId],
      );
      // Given back between the two statements: the next try gets it.
      return { granted: false, lease: held === undefined ? { owner: "", token: 0n, expiresAt: now } : toLease(held) };
    },

    async renewLease({ tenant, threadId }, token, expiresAt) {
      const rows = await query<LeaseRow>(
        db,
        `update checkpoint.threads set lease_expires_at = $4
        where tenant = $1 and thread_id = $2 and lease_token = $3 and lease_owner is not null
        returning lease_token, lease_owner, lease_expires_at`,
        [tenant, threadId, String(token), expiresAt],
      );
      return rows.map(toLease)[0];
    },

    async releaseLease({ tenant, threadId }, token) {
      const key = [tenant, threadId, String(token)];
      await query(
        db,
        RELEASE,
        key,
      );
    },

    async expiredLeases(ownerPrefix, now, count) {
      const rows = await query<LeaseRow & { tenant: string; thread_id: string }>(
        db,
        `select tenant, thread_id, lease_token, lease_owner, lease_expires_at from checkpoint.threads
        where lease_owner is not null and lease_expires_at <= $2 and starts_with(lease_owner, $1)
        order by lease_expires_at limit $3`,
        [ownerPrefix, now, count],
      );
      return rows.map((row) => ({ tenant: row.tenant, threadId: row.thread_id, lease: toLease(row) }));
    },

    async takeCleaningTurn(owner, until, now) {
      const rows = await query(
        db,
        `insert into checkpoint.turns as t (name, owner, until) values ('cleaning', $1, $2)
        on conflict (name) do update set owner = excluded.owner, until = excluded.until
        where t.owner = excluded.owner or t.until <= $3 returning 1`,
        [owner, until, now],
      );
      return rows.length > 0;
    },
  };
}
