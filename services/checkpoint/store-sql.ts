import { isUnreachable, type SqlDatabase, type SqlSession, sqlState } from "../../runtime/sql/database.js";
import { migrate } from "../../runtime/sql/migrate.js";
import { HASH_BYTES, hashKey } from "./content.js";
import { leaseLost, storeUnavailable, threadLeased } from "./errors.js";
import { REF_BYTES } from "./packed-value.js";
import type { SegmentRef } from "./segment-tree.js";
import { LEASE_LOST_STATE, MIGRATIONS, MISSING_CONTENTS_STATE, SCHEMA, THREAD_LEASED_STATE } from "./sql-schema.js";
import type {
  Addition,
  CheckpointAge,
  CheckpointKey,
  CheckpointStore,
  Lease,
  ListQuery,
  PutOutcome,
  StoredCheckpoint,
  StoredContents,
  ThreadKey,
  ThreadSummary,
} from "./store.js";

export interface SqlCheckpointStoreOptions {
  /** Threads that are not used for so long expire, in milliseconds; undefined: never. */
  ttlMs?: number;
}

/** Keeps checkpoints in PostgreSQL or PGlite: the same statements on both. Brings the schema up to date first. */
export async function openSqlCheckpointStore(
  db: SqlDatabase,
  options: SqlCheckpointStoreOptions = {},
): Promise<CheckpointStore> {
  await migrate(db, SCHEMA, MIGRATIONS);
  const expiry = (now: Date) => (options.ttlMs === undefined ? null : new Date(now.getTime() + options.ttlMs));

  /** Runs a writing function, which answers the thread's count of checkpoints as `n`. */
  async function write(thread: ThreadKey, text: string, parameters: unknown[]): Promise<PutOutcome> {
    try {
      const [row] = await db.query<{ n: number }>(text, parameters);
      return { missing: [], checkpointCount: row?.n ?? 0 };
    } catch (error) {
      const detail = String((error as { detail?: unknown }).detail ?? "");
      switch (sqlState(error)) {
        case MISSING_CONTENTS_STATE:
          return { missing: splitHashes(Buffer.from(detail, "hex")), checkpointCount: 0 };
        case LEASE_LOST_STATE:
          throw leaseLost(thread.threadId);
        case THREAD_LEASED_STATE:
          throw threadLeased(thread.threadId, Number(detail));
        default:
          throw reachable(error);
      }
    }
  }

  const read = <R>(session: SqlSession, text: string, parameters: unknown[]): Promise<R[]> =>
    session.query<R>(text, parameters).catch((error: unknown) => {
      throw reachable(error);
    });

  return {
    put: (thread, { checkpoint: c, writes: w }, addition, { fencingToken, now }) =>
      write(
        thread,
        `select checkpoint.put(
          $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26
        ) as n`,
        [
          thread.tenant,
          thread.threadId,
          c?.namespace ?? null,
          c?.checkpointId ?? null,
          c?.parentId ?? null,
          c?.data ?? null,
          c?.metadata ?? null,
          c?.needsParent ?? null,
          c?.channels.map(({ channel }) => channel) ?? null,
          c?.channels.map(({ version }) => version) ?? null,
          c?.channels.map(({ value }) => value ?? null) ?? null,
          c?.channels.map(({ unchanged }) => unchanged) ?? null,
          w.map(({ namespace }) => namespace),
          w.map(({ checkpointId }) => checkpointId),
          w.map(({ taskId }) => taskId),
          w.map(({ taskPath }) => taskPath),
          w.map(({ index }) => index),
          w.map(({ channel }) => channel),
          w.map(({ value }) => value),
          ...additionParameters(addition),
          String(fencingToken),
          now,
          expiry(now),
        ],
      ),

    async putContents(thread, contents, sweepAt, { fencingToken, now }) {
      const [, ...parameters] = additionParameters({ contents, required: [] });
      await write(thread, "select checkpoint.put_contents($1, $2, $3, $4, $5, $6, $7, $8, $9)", [
        thread.tenant,
        thread.threadId,
        ...parameters,
        String(fencingToken),
        now,
        expiry(now),
        sweepAt,
      ]);
    },

    async get(thread, namespace, checkpointId, now) {
      const expires = expiry(now);
      // Written at most sixteen times in a thread's life span, however often it is read.
      const refreshBefore = expires === null ? null : new Date(expires.getTime() - (options.ttlMs ?? 0) / 16);
      const [row] = await read<CheckpointRow>(
        db,
        "select * from checkpoint.get_checkpoint($1, $2, $3, $4, $5, $6, $7)",
        [thread.tenant, thread.threadId, namespace, checkpointId ?? null, now, expires, refreshBefore],
      );
      if (row === undefined || row.id === null) return undefined;
      return toCheckpoint({ ...row, tenant: thread.tenant, thread: thread.threadId, ns: namespace });
    },

    async list(query, after, count, now) {
      const { text, parameters } = listStatement(query, after, count, now);
      return (await read<CheckpointRow>(db, text, parameters)).map(toCheckpoint);
    },

    async contents(thread, refs) {
      const [row] = await read<{ contents: Buffer }>(db, "select checkpoint.read_contents($1, $2, $3) as contents", [
        thread.tenant,
        thread.threadId,
        packRefs(refs),
      ]);
      return splitContents(row?.contents ?? Buffer.alloc(0));
    },

    async thread({ tenant, threadId }, now) {
      const rows = await read<ThreadRow>(
        db,
        `select * from checkpoint.threads
        where tenant = $1 and thread_id = $2 and checkpoint_count > 0 and (expires_at is null or expires_at > $3)`,
        [tenant, threadId, now],
      );
      return rows.map((row) => toThread(row, now))[0];
    },

    async threads(tenant, prefix, after, count, now) {
      const rows = await read<ThreadRow>(
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
      await read(
        db,
        `with held as materialized (select 1 from checkpoint.threads where tenant = $1 and thread_id = $2 for update)
        select checkpoint.erase_thread($1, $2) from held`,
        [tenant, threadId],
      );
    },

    copyThread: (source, targetId, now) =>
      db
        .transaction(async (tx) => {
          const [found] = await tx.query(
            `select 1 from checkpoint.threads
            where tenant = $1 and thread_id = $2 and checkpoint_count > 0 and (expires_at is null or expires_at > $3) for update`,
            [source.tenant, source.threadId, now],
          );
          if (found === undefined) return "no source" as const;
          const [made] = await tx.query(
            `insert into checkpoint.threads (tenant, thread_id, created_at, updated_at, expires_at, checkpoint_count, content_bytes)
            select tenant, $3, $4, $4, $5, checkpoint_count, content_bytes
            from checkpoint.threads where tenant = $1 and thread_id = $2
            on conflict do nothing returning 1`,
            [source.tenant, source.threadId, targetId, now, expiry(now)],
          );
          if (made === undefined) return "target exists" as const;
          for (const [table, columns] of COPIED_TABLES) {
            await tx.query(
              `insert into checkpoint.${table} (tenant, thread_id, ${columns})
              select tenant, $3, ${columns} from checkpoint.${table} where tenant = $1 and thread_id = $2`,
              [source.tenant, source.threadId, targetId],
            );
          }
          return "copied" as const;
        })
        .catch((error: unknown) => {
          throw reachable(error);
        }),

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
      const [row] = await read<{ n: number }>(db, "select checkpoint.sweep_contents($1, $2, $3, $4) as n", [
        tenant,
        threadId,
        before,
        again,
      ]);
      return row?.n ?? 0;
    },

    async acquireLease({ tenant, threadId }, owner, expiresAt, now) {
      const [granted] = await read<LeaseRow>(
        db,
        `insert into checkpoint.threads as t (tenant, thread_id, created_at, updated_at, lease_token, lease_owner, lease_expires_at)
        values ($1, $2, $5, $5, nextval('checkpoint.lease_tokens'), $3, $4)
        on conflict (tenant, thread_id) do update set
          lease_token = excluded.lease_token, lease_owner = excluded.lease_owner, lease_expires_at = excluded.lease_expires_at
        where t.lease_owner is null or t.lease_owner = $3 or t.lease_expires_at <= $5
        returning lease_token, lease_owner, lease_expires_at`,
        [tenant, threadId, owner, expiresAt, now],
      );
      if (granted !== undefined) return { granted: true, lease: toLease(granted) };
      const [held] = await read<LeaseRow>(
        db,
        "select lease_token, lease_owner, lease_expires_at from checkpoint.threads where tenant = $1 and thread_id = $2 and lease_owner is not null",
        [tenant, threadId],
      );
      // Given back between the two statements: the next try gets it.
      return { granted: false, lease: held === undefined ? { owner: "", token: 0n, expiresAt: now } : toLease(held) };
    },

    async renewLease({ tenant, threadId }, token, expiresAt) {
      const rows = await read<LeaseRow>(
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
      await read(
        db,
        // The token is used up: puts of the old holder that are still on their way come too late.
        `update checkpoint.threads set lease_owner = null, lease_expires_at = null, lease_token = nextval('checkpoint.lease_tokens')
        where tenant = $1 and thread_id = $2 and lease_token = $3`,
        key,
      );
    },

    async stats(tenant) {
      const [row] = await read<{ threads: number; checkpoints: number; bytes: number; oldest: Date | null }>(
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
      const [row] = await read<{ n: number }>(
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
      read<ThreadKey>(
        db,
        `select tenant, thread_id as "threadId" from checkpoint.threads where checkpoint_count > $1 limit $2`,
        [checkpoints, count],
      ),

    threadsToSweep: (now, count) =>
      read<ThreadKey>(
        db,
        `select tenant, thread_id as "threadId" from checkpoint.threads where sweep_at <= $1 order by sweep_at limit $2`,
        [now, count],
      ),

    async takeCleaningTurn(owner, until, now) {
      const rows = await read(
        db,
        `insert into checkpoint.turns as t (name, owner, until) values ('cleaning', $1, $2)
        on conflict (name) do update set owner = excluded.owner, until = excluded.until
        where t.owner = excluded.owner or t.until <= $3 returning 1`,
        [owner, until, now],
      );
      return rows.length > 0;
    },

    ping: () =>
      db.ping().catch((error: unknown) => {
        throw storeUnavailable(error);
      }),
    close: () => db.close(),
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

interface CheckpointRow {
  tenant: string;
  thread: string;
  ns: string;
  id: string;
  parent: string | null;
  data: Buffer;
  names: string[];
  states: string[];
  vals: (Buffer | null)[];
  created: Date;
  write_tasks: string[] | null;
  write_paths: string[] | null;
  write_channels: string[] | null;
  write_values: Buffer[] | null;
}

interface LeaseRow {
  lease_token: number;
  lease_owner: string;
  lease_expires_at: Date;
}

interface ThreadRow extends Partial<LeaseRow> {
  tenant: string;
  thread_id: string;
  created_at: Date;
  updated_at: Date;
  expires_at: Date | null;
  checkpoint_count: number;
  content_bytes: number;
}

function listStatement(query: ListQuery, after: CheckpointKey | undefined, count: number, now: Date) {
  const parameters: unknown[] = [query.tenant, now];
  const parameter = (value: unknown) => `$${parameters.push(value)}`;
  const where = ["c.tenant = $1", "(t.expires_at is null or t.expires_at > $2)"];
  if (query.threadId !== undefined) where.push(`c.thread_id = ${parameter(query.threadId)}`);
  if (query.namespace !== undefined) where.push(`c.checkpoint_ns = ${parameter(query.namespace)}`);
  if (query.checkpointId !== undefined) where.push(`c.checkpoint_id = ${parameter(query.checkpointId)}`);
  if (query.before !== undefined) where.push(`c.checkpoint_id < ${parameter(query.before)}`);
  if (query.filter !== undefined) {
    where.push(
      `not exists (select 1 from jsonb_each(${parameter(query.filter)}::jsonb) f where c.metadata -> f.key is distinct from f.value)`,
    );
  }
  if (after !== undefined) {
    const thread = parameter(after.threadId);
    const id = parameter(after.checkpointId);
    const ns = parameter(after.namespace);
    where.push(
      `(c.thread_id > ${thread} or (c.thread_id = ${thread} and
        (c.checkpoint_id < ${id} or (c.checkpoint_id = ${id} and c.checkpoint_ns > ${ns}))))`,
    );
  }
  const order = "w.task_path, w.task_id, w.idx";
  const text = `
    select c.tenant, c.thread_id as thread, c.checkpoint_ns as ns, c.checkpoint_id as id, c.parent_checkpoint_id as parent,
      c.checkpoint_data as data, c.channels as names, c.versions as states, c.channel_values as vals, c.created_at as created, p.*
    from checkpoint.langgraph_checkpoints c
    join checkpoint.threads t on t.tenant = c.tenant and t.thread_id = c.thread_id
    left join lateral (
      select array_agg(w.task_id order by ${order}) as write_tasks, array_agg(w.task_path order by ${order}) as write_paths,
        array_agg(w.channel order by ${order}) as write_channels, array_agg(w.value order by ${order}) as write_values
      from checkpoint.checkpoint_writes w
      where w.tenant = c.tenant and w.thread_id = c.thread_id and w.checkpoint_ns = c.checkpoint_ns and w.checkpoint_id = c.checkpoint_id
    ) p on true
    where ${where.join(" and ")}
    order by c.thread_id, c.checkpoint_id desc, c.checkpoint_ns
    limit ${parameter(count)}`;
  return { text, parameters };
}

function toCheckpoint(row: CheckpointRow): StoredCheckpoint {
  return {
    tenant: row.tenant,
    threadId: row.thread,
    namespace: row.ns,
    checkpointId: row.id,
    parentId: row.parent ?? undefined,
    data: row.data,
    channels: row.names.flatMap((channel, i) => {
      const value = row.vals[i];
      return value === null || value === undefined ? [] : [{ channel, version: row.states[i] ?? "", value }];
    }),
    writes: (row.write_tasks ?? []).map((taskId, i) => ({
      taskId,
      taskPath: row.write_paths?.[i] ?? "",
      channel: row.write_channels?.[i] ?? "",
      value: row.write_values?.[i] ?? Buffer.alloc(0),
    })),
    createdAt: row.created,
  };
}

function toThread(row: ThreadRow, now: Date): ThreadSummary {
  const held = row.lease_owner != null && row.lease_expires_at != null && row.lease_expires_at > now;
  return {
    tenant: row.tenant,
    threadId: row.thread_id,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    expiresAt: row.expires_at ?? undefined,
    checkpointCount: row.checkpoint_count,
    storedBytes: row.content_bytes,
    lease: held ? toLease(row as LeaseRow) : undefined,
  };
}

function toLease(row: LeaseRow): Lease {
  return { owner: row.lease_owner, token: BigInt(row.lease_token), expiresAt: row.lease_expires_at };
}

function additionParameters({ contents, required }: Addition): unknown[] {
  return [
    Buffer.concat(required),
    Buffer.concat(contents.map(({ hash }) => hash)),
    contents.map(({ stored }) => stored.length),
    Buffer.concat(contents.map(({ stored }) => stored)),
  ];
}

function packRefs(refs: readonly SegmentRef[]): Buffer {
  return Buffer.concat(refs.flatMap(({ level, hash }) => [Buffer.of(level), hash]), refs.length * REF_BYTES);
}

function splitHashes(hashes: Buffer): Buffer[] {
  return Array.from({ length: hashes.length / HASH_BYTES }, (_, i) => hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
}

/** What checkpoint.read_contents puts together. */
function splitContents(packed: Buffer): StoredContents {
  const contents = new Map<string, Buffer>();
  for (let at = 0; at < packed.length; ) {
    const dataAt = at + HASH_BYTES + 4;
    const end = dataAt + packed.readUInt32BE(at + HASH_BYTES);
    contents.set(hashKey(packed.subarray(at, at + HASH_BYTES)), packed.subarray(dataAt, end));
    at = end;
  }
  return contents;
}

function reachable(error: unknown): unknown {
  return isUnreachable(error) ? storeUnavailable(error) : error;
}
