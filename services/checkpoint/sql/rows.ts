import type { Lease, StoredCheckpoint, ThreadSummary } from "../store.js";

/** A checkpoint as checkpoint.get_checkpoint and the list statement answer it. */
export interface CheckpointRow {
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

export interface LeaseRow {
  lease_token: number;
  lease_owner: string;
  lease_expires_at: Date;
}

export interface ThreadRow extends Partial<LeaseRow> {
  tenant: string;
  thread_id: string;
  created_at: Date;
  updated_at: Date;
  expires_at: Date | null;
  checkpoint_count: number;
  content_bytes: number;
}

export function toCheckpoint(row: CheckpointRow): StoredCheckpoint {
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

export function toThread(row: ThreadRow, now: Date): ThreadSummary {
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

export function toLease(row: LeaseRow): Lease {
  return { owner: row.lease_owner, token: BigInt(row.lease_token), expiresAt: row.lease_expires_at };
}
