import type { PreparedStatement } from "../../../runtime/sql/database.js";
import type { CheckpointAge, CheckpointStore, ThreadKey } from "../store.js";
import { type ThreadRow, toThread } from "./rows.js";
import { query, type SqlStoreContext } from "./session.js";

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

    async deleteCheckpoints({ tenant, threadId }, choose) {
      // The thread is not held while the choice is made: should it change meanwhile, the choice is made anew.
      for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
        const all = await query<AgeRow>(db, AGES, [tenant, threadId]);
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
        const places = [chosen.map(({ namespace }) => namespace), chosen.map(({ checkpointId }) => checkpointId)];
        const [done] = await query(db, DELETE_CHECKPOINTS, [tenant, threadId, all[0]?.revision, ...places]);
        if (done !== undefined) return chosen.length;
      }
      return 0;
    },

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

/** Tries while writers come in between. */
const ATTEMPTS = 10;

interface AgeRow {
  revision: string;
  namespace: string;
  id: string;
  parent: string | null;
  needs: boolean;
}

/** A put writes the thread's row anew: its xmin is the thread's revision. */
const AGES: PreparedStatement = {
  name: "checkpoint_ages",
  text: `select t.xmin::text as revision, c.checkpoint_ns as namespace, c.checkpoint_id as id, c.parent_checkpoint_id as parent,
      c.needs_parent as needs
    from checkpoint.threads t join checkpoint.langgraph_checkpoints c on c.tenant = t.tenant and c.thread_id = t.thread_id
    where t.tenant = $1 and t.thread_id = $2`,
};

/** Answers a row when the thread is still at the revision $3. */
const DELETE_CHECKPOINTS: PreparedStatement = {
  name: "checkpoint_delete",
  text: `with held as materialized (
      select tenant, thread_id from checkpoint.threads where tenant = $1 and thread_id = $2 and xmin::text = $3 for update
    ),
    gone as materialized (
      select tenant, thread_id, ns, id from held cross join unnest($4::text[], $5::text[]) as chosen (ns, id)
    ),
    writes as (
      delete from checkpoint.checkpoint_writes w using gone
      where w.tenant = gone.tenant and w.thread_id = gone.thread_id and w.checkpoint_ns = gone.ns and w.checkpoint_id = gone.id
    ),
    checkpoints as (
      delete from checkpoint.langgraph_checkpoints c using gone
      where c.tenant = gone.tenant and c.thread_id = gone.thread_id and c.checkpoint_ns = gone.ns and c.checkpoint_id = gone.id
    )
    update checkpoint.threads t
    set checkpoint_count = checkpoint_count - cardinality($5::text[]), sweep_at = '-infinity'
    from held where t.tenant = held.tenant and t.thread_id = held.thread_id
    returning true as done`,
};

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
