import type { Migration } from "../../../runtime/sql/migrate.js";
import { CONTENT_HEADER_BYTES } from "../content.js";

export const SCHEMA = "checkpoint";

/** Raised by the functions below, with SQLSTATEs of our own. */
export const LEASE_LOST_STATE = "RG001";
/** The detail is how long the lease still lasts, in milliseconds. */
export const THREAD_LEASED_STATE = "RG002";
/** The detail is the missing hashes, hexadecimal, one after the other. */
export const MISSING_CONTENTS_STATE = "RG003";

const tables = [
  `create table checkpoint.threads (
    tenant text collate "C" not null,
    thread_id text collate "C" not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    expires_at timestamptz,
    sweep_at timestamptz,
    checkpoint_count int not null default 0,
    content_bytes bigint not null default 0,
    lease_token bigint not null default 0,
    lease_owner text,
    lease_expires_at timestamptz,
    primary key (tenant, thread_id)
  ) with (fillfactor = 70)`,
  "create index threads_expiry on checkpoint.threads (expires_at) where expires_at is not null",
  "create index threads_sweep on checkpoint.threads (sweep_at) where sweep_at is not null",
  // Larger than every token before it, also of threads that were deleted since.
  "create sequence checkpoint.lease_tokens",
  `create table checkpoint.langgraph_checkpoints (
    tenant text collate "C" not null,
    thread_id text collate "C" not null,
    checkpoint_ns text collate "C" not null,
    checkpoint_id text collate "C" not null,
    parent_checkpoint_id text collate "C",
    checkpoint_data bytea not null,
    metadata jsonb not null,
    channels text[] not null,
    versions text[] not null,
    channel_values bytea[] not null,
    needs_parent boolean not null,
    created_at timestamptz not null,
    primary key (tenant, thread_id, checkpoint_ns, checkpoint_id)
  )`,
  `create table checkpoint.checkpoint_writes (
    tenant text collate "C" not null,
    thread_id text collate "C" not null,
    checkpoint_ns text collate "C" not null,
    checkpoint_id text collate "C" not null,
    task_id text collate "C" not null,
    idx int not null,
    task_path text collate "C" not null,
    channel text not null,
    value bytea not null,
    primary key (tenant, thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
  )`,
  `create table checkpoint.contents (
    tenant text collate "C" not null,
    thread_id text collate "C" not null,
    hash bytea not null,
    data bytea not null,
    created_at timestamptz not null,
    primary key (tenant, thread_id, hash)
  )`,
  // Compressed before it gets here, where that pays.
  "alter table checkpoint.contents alter column data set storage external",
  `create table checkpoint.turns (
    name text primary key,
    owner text not null,
    until timestamptz not null
  )`,
];

const functions = [
  // Locks the thread until the transaction's end, makes it where there is none, and refuses writers that another one
  // has replaced. Every writing function begins with it: the thread's writers stand in line, and what they find stays.
  `create or replace function checkpoint.enter_thread(p_tenant text, p_thread text, p_token bigint, p_now timestamptz)
  returns void language plpgsql as $$
  declare
    t checkpoint.threads;
  begin
    -- Acknowledged means durable, whatever the server's default is.
    if current_setting('synchronous_commit') = 'off' then
      perform set_config('synchronous_commit', 'on', true);
    end if;
    loop
      select * into t from checkpoint.threads where tenant = p_tenant and thread_id = p_thread for update;
      exit when found;
      insert into checkpoint.threads (tenant, thread_id, created_at, updated_at)
      values (p_tenant, p_thread, p_now, p_now) on conflict do nothing;
    end loop;
    if t.expires_at <= p_now then
      perform checkpoint.erase_thread(p_tenant, p_thread);
      insert into checkpoint.threads (tenant, thread_id, created_at, updated_at, lease_token, lease_owner, lease_expires_at)
      values (p_tenant, p_thread, p_now, p_now, t.lease_token, t.lease_owner, t.lease_expires_at);
    end if;
    if p_token <> 0 and p_token <> t.lease_token then
      raise exception 'lease lost' using errcode = '${LEASE_LOST_STATE}';
    end if;
    if p_token = 0 and t.lease_owner is not null and t.lease_expires_at > p_now then
      raise exception 'thread leased' using errcode = '${THREAD_LEASED_STATE}',
        detail = ceil(extract(epoch from t.lease_expires_at - p_now) * 1000)::bigint::text;
    end if;
  end $$`,
  `create or replace function checkpoint.erase_thread(p_tenant text, p_thread text) returns void language plpgsql as $$
  begin
    delete from checkpoint.langgraph_checkpoints where tenant = p_tenant and thread_id = p_thread;
    delete from checkpoint.checkpoint_writes where tenant = p_tenant and thread_id = p_thread;
    delete from checkpoint.contents where tenant = p_tenant and thread_id = p_thread;
    delete from checkpoint.threads where tenant = p_tenant and thread_id = p_thread;
  end $$`,
  // Hashes come 16 bytes each, contents one after the other with their sizes beside: one binary parameter instead of
  // an array of texts. Answers the bytes that were new.
  `create or replace function checkpoint.add_contents(
    p_tenant text, p_thread text, p_required bytea, p_hashes bytea, p_sizes int[], p_data bytea, p_now timestamptz
  ) returns bigint language plpgsql as $$
  declare
    missing text;
    added bigint;
  begin
    select string_agg(encode(r.hash, 'hex'), '') into missing
    from (select substring(p_required from 1 + 16 * i for 16) as hash from generate_series(0, octet_length(p_required) / 16 - 1) i) r
    -- Not "not exists", which may become a join with all of the thread's contents: these are looked up one by one.
    where (select true from checkpoint.contents c where c.tenant = p_tenant and c.thread_id = p_thread and c.hash = r.hash) is null;
    if missing is not null then
      raise exception 'missing contents' using errcode = '${MISSING_CONTENTS_STATE}', detail = missing;
    end if;
    with parts as (
      select i, size, sum(size) over (order by i) - size as start from unnest(p_sizes) with ordinality as s (size, i)
    ), stored as (
      insert into checkpoint.contents (tenant, thread_id, hash, data, created_at)
      select p_tenant, p_thread, substring(p_hashes from (16 * i - 15)::int for 16), substring(p_data from start::int + 1 for size), p_now
      from parts
      on conflict do nothing
      returning octet_length(data) as bytes
    )
    select coalesce(sum(bytes), 0) into added from stored;
    return added;
  end $$`,
  // For a copy of a checkpoint that hangs elsewhere in the tree: an unchanged channel's value is where its version was written.
  `create or replace function checkpoint.find_values(
    p_tenant text, p_thread text, p_ns text, p_channels text[], p_versions text[], p_values bytea[], p_unchanged boolean[]
  ) returns bytea[] language sql as $$
    select array_agg(coalesce(g.value, o.value) order by g.n)
    from unnest(p_channels, p_versions, p_values, p_unchanged) with ordinality as g (channel, version, value, unchanged, n)
    left join lateral (
      select v.value
      from checkpoint.langgraph_checkpoints c
      cross join lateral unnest(c.channels, c.versions, c.channel_values) as v (channel, version, value)
      where c.tenant = p_tenant and c.thread_id = p_thread and c.checkpoint_ns = p_ns
        and v.channel = g.channel and v.version = g.version and v.value is not null
      order by c.checkpoint_id desc limit 1
    ) o on g.unchanged and g.value is null
  $$`,
  // One put: a checkpoint (none when p_id is null) and writes of tasks, given column by column. Answers the thread's count.
  // Its statements are planned once a connection: left alone, PostgreSQL plans them anew for each put's arrays, which
  // takes longer than running them.
  `create or replace function checkpoint.put(
    p_tenant text, p_thread text,
    p_ns text, p_id text, p_parent text, p_data bytea, p_metadata jsonb, p_needs_parent boolean,
    p_channels text[], p_versions text[], p_values bytea[], p_unchanged boolean[],
    w_ns text[], w_id text[], w_task text[], w_path text[], w_idx int[], w_channel text[], w_value bytea[],
    p_required bytea, p_hashes bytea, p_sizes int[], p_contents bytea,
    p_token bigint, p_now timestamptz, p_expires timestamptz
  ) returns int language plpgsql set plan_cache_mode = force_generic_plan as $$
  declare
    parent checkpoint.langgraph_checkpoints;
    resolved bytea[];
    complete boolean;
    inserted boolean := false;
    bytes bigint;
    checkpoints int;
  begin
    perform checkpoint.enter_thread(p_tenant, p_thread, p_token, p_now);
    bytes := checkpoint.add_contents(p_tenant, p_thread, p_required, p_hashes, p_sizes, p_contents, p_now);
    if cardinality(w_id) > 0 then
      insert into checkpoint.checkpoint_writes as w (
        tenant, thread_id, checkpoint_ns, checkpoint_id, task_id, idx, task_path, channel, value
      )
      select p_tenant, p_thread, g.ns, g.id, g.task, g.idx, g.path, g.channel, g.value
      from unnest(w_ns, w_id, w_task, w_path, w_idx, w_channel, w_value) as g (ns, id, task, path, idx, channel, value)
      on conflict (tenant, thread_id, checkpoint_ns, checkpoint_id, task_id, idx) do update set
        task_path = excluded.task_path, channel = excluded.channel, value = excluded.value
      where w.idx < 0;
    end if;
    if p_id is not null then
      resolved := p_values;
      if true = any (p_unchanged) then
        select * into parent from checkpoint.langgraph_checkpoints
        where tenant = p_tenant and thread_id = p_thread and checkpoint_ns = p_ns and checkpoint_id = p_parent;
        select array_agg(case when g.unchanged then o.value else g.value end order by g.n),
          bool_and(not g.unchanged or o.channel is not null)
        into resolved, complete
        from unnest(p_channels, p_versions, p_values, p_unchanged) with ordinality as g (channel, version, value, unchanged, n)
        left join unnest(parent.channels, parent.versions, parent.channel_values) as o (channel, version, value)
          on o.channel = g.channel and o.version = g.version;
        if not complete then
          resolved := checkpoint.find_values(p_tenant, p_thread, p_ns, p_channels, p_versions, resolved, p_unchanged);
        end if;
      end if;
      insert into checkpoint.langgraph_checkpoints as c (
        tenant, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint_data, metadata,
        channels, versions, channel_values, needs_parent, created_at
      ) values (
        p_tenant, p_thread, p_ns, p_id, p_parent, p_data, p_metadata, p_channels, p_versions, resolved, p_needs_parent, p_now
      )
      on conflict (tenant, thread_id, checkpoint_ns, checkpoint_id) do update set
        parent_checkpoint_id = excluded.parent_checkpoint_id, checkpoint_data = excluded.checkpoint_data,
        metadata = excluded.metadata, channels = excluded.channels, versions = excluded.versions,
        channel_values = excluded.channel_values, needs_parent = excluded.needs_parent
      returning (xmax = 0) into inserted;
    end if;
    update checkpoint.threads
    set updated_at = greatest(updated_at, p_now), expires_at = p_expires,
      checkpoint_count = checkpoint_count + inserted::int, content_bytes = content_bytes + bytes
    where tenant = p_tenant and thread_id = p_thread
    returning checkpoint_count into checkpoints;
    return checkpoints;
  end $$`,
  `create or replace function checkpoint.put_contents(
    p_tenant text, p_thread text, p_hashes bytea, p_sizes int[], p_contents bytea,
    p_token bigint, p_now timestamptz, p_expires timestamptz, p_sweep_at timestamptz
  ) returns void language plpgsql as $$
  declare
    bytes bigint;
  begin
    perform checkpoint.enter_thread(p_tenant, p_thread, p_token, p_now);
    bytes := checkpoint.add_contents(p_tenant, p_thread, ''::bytea, p_hashes, p_sizes, p_contents, p_now);
    update checkpoint.threads
    set updated_at = greatest(updated_at, p_now), expires_at = p_expires, content_bytes = content_bytes + bytes,
      sweep_at = coalesce(sweep_at, p_sweep_at)
    where tenant = p_tenant and thread_id = p_thread;
  end $$`,
  // The references inside packed values, 17 bytes each (packed-value.ts).
  `create or replace function checkpoint.refs_of(p_values bytea[]) returns bytea language sql immutable as $$
    select coalesce(string_agg(substring(v from 2 for 17 * get_byte(v, 0)), ''::bytea), ''::bytea)
    from unnest(p_values) as v where v is not null
  $$`,
  // All that references name, and what is below: hash and level of segments and nodes.
  `create or replace function checkpoint.reachable(p_tenant text, p_thread text, p_refs bytea)
  returns table (level int, hash bytea) language sql stable rows 200 as $$
    with recursive tree (level, hash) as (
      select get_byte(p_refs, 17 * i), substring(p_refs from 17 * i + 2 for 16)
      from generate_series(0, octet_length(p_refs) / 17 - 1) i
      union
      select t.level - 1, substring(c.data from ${CONTENT_HEADER_BYTES + 1} + 16 * i for 16)
      from tree t
      join checkpoint.contents c on c.tenant = p_tenant and c.thread_id = p_thread and c.hash = t.hash
      cross join generate_series(0, 15) i
      where t.level > 0
    )
    select level, hash from tree
  $$`,
  // Each content as its hash, its size in four bytes and its bytes, one after the other.
  `create or replace function checkpoint.read_contents(p_tenant text, p_thread text, p_refs bytea)
  returns bytea language plpgsql stable as $$
  declare
    hashes bytea[];
  begin
    select array_agg(distinct r.hash) into hashes from checkpoint.reachable(p_tenant, p_thread, p_refs) r;
    return (
      select coalesce(string_agg(c.hash || int4send(octet_length(c.data)) || c.data, ''::bytea), ''::bytea)
      from checkpoint.contents c
      where c.tenant = p_tenant and c.thread_id = p_thread and c.hash = any (hashes)
    );
  end $$`,
  `create or replace function checkpoint.get_checkpoint(
    p_tenant text, p_thread text, p_ns text, p_id text, p_now timestamptz, p_expires timestamptz, p_refresh_before timestamptz,
    out id text, out parent text, out data bytea, out names text[], out states text[], out vals bytea[], out created timestamptz,
    out write_tasks text[], out write_paths text[], out write_channels text[], out write_values bytea[]
  ) language plpgsql as $$
  declare
    t checkpoint.threads;
  begin
    select * into t from checkpoint.threads where tenant = p_tenant and thread_id = p_thread;
    if not found or t.expires_at <= p_now then
      return;
    end if;
    if p_expires is not null and (t.expires_at is null or t.expires_at < p_refresh_before) then
      update checkpoint.threads set expires_at = p_expires where tenant = p_tenant and thread_id = p_thread;
    end if;
    if p_id is null then
      select checkpoint_id, parent_checkpoint_id, checkpoint_data, channels, versions, channel_values, created_at
      into id, parent, data, names, states, vals, created
      from checkpoint.langgraph_checkpoints
      where tenant = p_tenant and thread_id = p_thread and checkpoint_ns = p_ns
      order by checkpoint_id desc limit 1;
    else
      select checkpoint_id, parent_checkpoint_id, checkpoint_data, channels, versions, channel_values, created_at
      into id, parent, data, names, states, vals, created
      from checkpoint.langgraph_checkpoints
      where tenant = p_tenant and thread_id = p_thread and checkpoint_ns = p_ns and checkpoint_id = p_id;
    end if;
    if id is null then
      return;
    end if;
    select array_agg(w.task_id order by w.task_path, w.task_id, w.idx), array_agg(w.task_path order by w.task_path, w.task_id, w.idx),
      array_agg(w.channel order by w.task_path, w.task_id, w.idx), array_agg(w.value order by w.task_path, w.task_id, w.idx)
    into write_tasks, write_paths, write_channels, write_values
    from checkpoint.checkpoint_writes w
    where w.tenant = p_tenant and w.thread_id = p_thread and w.checkpoint_ns = p_ns and w.checkpoint_id = id;
  end $$`,
  // Deletes what nothing names. It holds the thread, so that no put can name it meanwhile.
  `create or replace function checkpoint.sweep_contents(p_tenant text, p_thread text, p_before timestamptz, p_again timestamptz)
  returns int language plpgsql as $$
  declare
    refs bytea;
    named bytea[];
    deleted int;
    bytes bigint;
    young boolean;
  begin
    perform 1 from checkpoint.threads where tenant = p_tenant and thread_id = p_thread for update;
    if not found then
      return 0;
    end if;
    select coalesce(string_agg(checkpoint.refs_of(v.vals), ''::bytea), ''::bytea) into refs
    from (
      select channel_values as vals from checkpoint.langgraph_checkpoints where tenant = p_tenant and thread_id = p_thread
      union all
      select array[value] from checkpoint.checkpoint_writes where tenant = p_tenant and thread_id = p_thread
    ) v;
    select array_agg(distinct r.hash) into named from checkpoint.reachable(p_tenant, p_thread, refs) r;
    with gone as (
      delete from checkpoint.contents c
      where c.tenant = p_tenant and c.thread_id = p_thread and c.created_at < p_before
        and not exists (select 1 from unnest(named) as n (hash) where n.hash = c.hash)
      returning octet_length(c.data) as size
    )
    select count(*), coalesce(sum(size), 0) into deleted, bytes from gone;
    select exists (
      select 1 from checkpoint.contents c
      where c.tenant = p_tenant and c.thread_id = p_thread and c.created_at >= p_before
        and not exists (select 1 from unnest(named) as n (hash) where n.hash = c.hash)
    ) into young;
    update checkpoint.threads set content_bytes = content_bytes - bytes, sweep_at = case when young then p_again end
    where tenant = p_tenant and thread_id = p_thread;
    return deleted;
  end $$`,
];

/**
 * The history of the schema "checkpoint". Tables change by steps that are appended and never edited; functions are all
 * replaced by the newest step, with the parameters that they had, so that replicas of both releases can call them.
 */
export const MIGRATIONS: readonly Migration[] = [
  { version: 1, statements: tables },
  { version: 2, statements: functions },
  { version: 3, statements: ["create index threads_lease on checkpoint.threads (lease_expires_at) where lease_owner is not null"] },
];
