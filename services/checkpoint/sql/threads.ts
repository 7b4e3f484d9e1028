import type { CheckpointAge, CheckpointStore, ThreadKey } from "../store.js";
import { type ThreadRow, toThread } from "./rows.js";
import { query, reachable, type SqlStoreContext } from "./session.js";

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

/** Threads as a whole: their sums, copying, and deleting what is not kept. */
export function sqlThreads({ db, expiry }: SqlStoreContext): Methods {
  return {
    async thread({ tenant, threadId }, now) {
      const rows = await query<ThreadRow>(
        db,
        `select * from checkpoint.threads
        where tenant = $1 and thread_id = $2 and checkpoint_count > 0 and (expires_at is null or expires_at > $3)`,
        [tenant, threadId, now],
      );
      return rows.map((row) => toThread(row, now))[0];
    },

    async threads(tenant, prefix, after, count, now) {
      const rows = await query<ThreadRow>(
        db,
        `select * from checkpoint.threads
        where tenant = $1 and starts_with(thread_id, $2) and thread_id >= $2 and thread_id > $3
          and checkpoint_count > 0 and (expires_at is null or expires_at > $4)
        order by thread_id limit $5`,
        [tenant, prefix, after, now, count],
      );
      return rows.map((row) => toThread(row, now));
    },

    async deleteThread({ tenant, threadId }) {
      // The lock first: a put under way ends before, one that comes later begins a new thread.
      await query(
        db,
        `with held as materialized (select 1 from checkpoint.threads where tenant = $1 and thread_id = $2 for update)
        select checkpoint.erase_thread($1, $2) from held`,
        [tenant, threadId],
      );
    },

    async copyThreads(tenant, copies, now) {
      const rows = await query<{ found: boolean; made: boolean }>(db, COPY, [
        tenant,
        copies.map(({ source }) => source),
        copies.map(({ target }) => target),
        now,
        expiry(now),
      ]);
      return rows.map(({ found, made }) => (made ? "copied" : found ? "target exists" : "no source"));
    },

    deleteCheckpoints: (thread, choose) =>
      db
        .transaction(async (tx) => {
          const key = [thread.tenant, thread.threadId];
          await tx.query("select 1 from checkpoint.threads where tenant = $1 and thread_id = $2 for update", key);
          const all = await tx.query<{ namespace: string; id: string; parent: string | null; needs: boolean }>(
            `select checkpoint_ns as namespace, checkpoint_id as id, parent_checkpoint_id as parent, needs_parent as needs
            from checkpoint.langgraph_checkpoints where tenant = $1 and thread_id = $2`,
            key,
          );
          const chosen = choose(
            all.map(
              (row): CheckpointAge => ({
                namespace: row.namespace,
                checkpointId: row.id,
                parentId: row.parent ?? undefined,
                needsParent: row.needs,
              }),
            ),
          );
          if (chosen.length === 0) return 0;
          const places = [...key, chosen.map(({ namespace }) => namespace), chosen.map(({ checkpointId }) => checkpointId)];
          for (const table of ["checkpoint_writes", "langgraph_checkpoints"]) {
            await tx.query(
              `delete from checkpoint.${table} t using unnest($3::text[], $4::text[]) as gone (ns, id)
              where t.tenant = $1 and t.thread_id = $2 and t.checkpoint_ns = gone.ns and t.checkpoint_id = gone.id`,
              places,
            );
          }
          await tx.query(
            `update checkpoint.threads set checkpoint_count = checkpoint_count - $3, sweep_at = '-infinity'
            where tenant = $1 and thread_id = $2`,
            [...key, chosen.length],
          );
          return chosen.length;
        })
        .catch((error: unknown) => {
          throw reachable(error);
        }),

    async sweepContents({ tenant, threadId }, before, again) {
      const [row] = await query<{ n: number }>(db, "select checkpoint.sweep_contents($1, $2, $3, $4) as n", [
        tenant,
        threadId,
        before,
        again,
      ]);
      return row?.n ?? 0;
    },

    async stats(tenant) {
      const [row] = await query<{ threads: number; checkpoints: number; bytes: number; oldest: Date | null }>(
        db,
        `select count(*) as threads, coalesce(sum(checkpoint_count), 0)::bigint as checkpoints,
          coalesce(sum(content_bytes), 0)::bigint as bytes, min(updated_at) as oldest
        from checkpoint.threads where tenant = $1 and checkpoint_count > 0`,
        [tenant],
      );
      return {
        threads: row?.threads ?? 0,
        checkpoints: row?.checkpoints ?? 0,
        storedBytes: row?.bytes ?? 0,
        oldestUpdate: row?.oldest ?? undefined,
      };
    },

    async deleteExpired(now, count) {
      const [row] = await query<{ n: number }>(
        db,
        `with expired as materialized (
          select tenant, thread_id from checkpoint.threads where expires_at <= $1 limit $2 for update skip locked
        )
        select count(checkpoint.erase_thread(tenant, thread_id)) as n from expired`,
        [now, count],
      );
      return row?.n ?? 0;
    },

    threadsAbove: (checkpoints, count) =>
      query<ThreadKey>(
        db,
        `select tenant, thread_id as "threadId" from checkpoint.threads where checkpoint_count > $1 limit $2`,
        [checkpoints, count],
      ),

    threadsToSweep: (now, count) =>
      query<ThreadKey>(
        db,
        `select tenant, thread_id as "threadId" from checkpoint.threads where sweep_at <= $1 order by sweep_at limit $2`,
        [now, count],
      ),
  };
}

const COPIED_TABLES = [
  ["contents", "hash, data, created_at"],
  ["checkpoint_writes", "checkpoint_ns, checkpoint_id, task_id, idx, task_path, channel, value"],
  [
    "langgraph_checkpoints",
    "checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint_data, metadata, channels, versions, channel_values, needs_parent, created_at",
  ],
] as const;

/** One statement for any number of threads, and one snapshot of what they hold. */
const COPY = `
  with asked as (select * from unnest($2::text[], $3::text[]) with ordinality as asked (source, target, place)),
  found as (
    select distinct on (target) source, target, place, checkpoint_count, content_bytes
    from asked join checkpoint.threads on tenant = $1 and thread_id = source
    where checkpoint_count > 0 and (expires_at is null or expires_at > $4)
    order by target, place
  ),
  made as (
    insert into checkpoint.threads (tenant, thread_id, created_at, updated_at, expires_at, checkpoint_count, content_bytes)
    select $1, target, $4, $4, $5::timestamptz, checkpoint_count, content_bytes from found
    on conflict do nothing returning thread_id
  ),
  ${COPIED_TABLES.map(
    ([table, columns]) => `
    copied_${table} as (
      insert into checkpoint.${table} (tenant, thread_id, ${columns})
      select $1, target, ${columns}
      from found join made on made.thread_id = target join checkpoint.${table} as old on old.tenant = $1 and old.thread_id = source
    )`,
  ).join(",")}
  select exists (select from checkpoint.threads where tenant = $1 and thread_id = source and checkpoint_count > 0
      and (expires_at is null or expires_at > $4)) as found,
    exists (select from found join made on made.thread_id = found.target where found.place = asked.place) as made
  from asked order by place`;
