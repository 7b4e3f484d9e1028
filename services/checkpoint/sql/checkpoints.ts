import { type PreparedStatement, sqlState } from "../../../runtime/sql/database.js";
import { leaseLost, threadLeased } from "../errors.js";
import type { CheckpointKey, CheckpointStore, ListQuery, PutOutcome, ThreadKey } from "../store.js";
import { additionParameters, packRefs, splitContents, splitHashes } from "./contents.js";
import { type CheckpointRow, toCheckpoint } from "./rows.js";
import { LEASE_LOST_STATE, MISSING_CONTENTS_STATE, THREAD_LEASED_STATE } from "./schema.js";
import { query, reachable, type SqlStoreContext } from "./session.js";

const PUT: PreparedStatement = {
  name: "checkpoint_put",
  text: `select checkpoint.put(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26
  ) as n`,
};

/** Its columns by name: a newer release may add one, and a prepared statement must not change what it returns. */
const GET: PreparedStatement = {
  name: "checkpoint_get",
  text: `select id, parent, data, names, states, vals, created, write_tasks, write_paths, write_channels, write_values
    from checkpoint.get_checkpoint($1, $2, $3, $4, $5, $6, $7)`,
};

const CONTENTS: PreparedStatement = { name: "checkpoint_contents", text: "select checkpoint.read_contents($1, $2, $3) as contents" };

type Methods = Pick<CheckpointStore, "put" | "putContents" | "get" | "list" | "contents">;

/** Storing and reading checkpoints. `ttlMs` is the life of a thread that is not used. */
export function sqlCheckpoints({ db, expiry }: SqlStoreContext, ttlMs: number | undefined): Methods {
  /** Runs a writing function, which answers the thread's count of checkpoints as `n`. */
  async function write(thread: ThreadKey, statement: string | PreparedStatement, parameters: unknown[]): Promise<PutOutcome> {
    try {
      const [row] = await db.query<{ n: number }>(statement, parameters);
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

  return {
    put: (thread, { checkpoint: c, writes: w }, addition, { fencingToken, now }) =>
      write(
        thread,
        PUT,
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
      const refreshBefore = expires === null ? null : new Date(expires.getTime() - (ttlMs ?? 0) / 16);
      const [row] = await query<CheckpointRow>(
        db,
        GET,
        [thread.tenant, thread.threadId, namespace, checkpointId ?? null, now, expires, refreshBefore],
      );
      if (row === undefined || row.id === null) return undefined;
      return toCheckpoint({ ...row, tenant: thread.tenant, thread: thread.threadId, ns: namespace });
    },

    async list(wanted, after, count, now) {
      const { text, parameters } = listStatement(wanted, after, count, now);
      return (await query<CheckpointRow>(db, text, parameters)).map(toCheckpoint);
    },

    async contents(thread, refs) {
      const [row] = await query<{ contents: Buffer }>(db, CONTENTS, [
        thread.tenant,
        thread.threadId,
        packRefs(refs),
      ]);
      return splitContents(row?.contents ?? Buffer.alloc(0));
    },
  };
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
