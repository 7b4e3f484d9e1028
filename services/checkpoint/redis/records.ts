import type { CheckpointPut, StoredCheckpoint, StoredWrite, ThreadKey, WritePut } from "../store.js";

/** Bytes of the time at a record's beginning, where a script can keep it. */
export const CREATED_BYTES = 8;

/** A checkpoint as it is stored. */
export interface CheckpointRecord {
  readonly createdAt: Date;
  readonly parentId: string | undefined;
  readonly data: Buffer;
  readonly metadata: string;
  readonly needsParent: boolean;
  /** All channels with a version; those without a value are empty. */
  readonly channels: readonly { readonly channel: string; readonly version: string; readonly value: Buffer | undefined }[];
}

/** The time it was created, then fields with their lengths before them. */
export function packRecord(put: CheckpointPut, channels: CheckpointRecord["channels"], now: Date): Buffer {
  const created = Buffer.alloc(CREATED_BYTES);
  created.writeDoubleBE(now.getTime());
  const fields = [
    Buffer.from(put.parentId ?? ""),
    put.data,
    Buffer.from(put.metadata),
    Buffer.of(put.needsParent ? 1 : 0),
    ...channels.flatMap(({ channel, version, value }) => [Buffer.from(channel), Buffer.from(version), value ?? Buffer.alloc(0)]),
  ];
  return Buffer.concat([created, packFields(fields)]);
}

export function unpackRecord(record: Buffer): CheckpointRecord {
  const [parent, data, metadata, needs, ...rest] = unpackFields(record.subarray(CREATED_BYTES));
  const channels: CheckpointRecord["channels"][number][] = [];
  for (let i = 0; i + 2 < rest.length; i += 3) {
    const [channel, version, value] = rest.slice(i, i + 3) as [Buffer, Buffer, Buffer];
    channels.push({ channel: channel.toString(), version: version.toString(), value: value.length === 0 ? undefined : value });
  }
  return {
    createdAt: new Date(record.length < CREATED_BYTES ? 0 : record.readDoubleBE(0)),
    parentId: parent?.toString() || undefined,
    data: data ?? Buffer.alloc(0),
    metadata: metadata?.toString() ?? "{}",
    needsParent: needs?.[0] === 1,
    channels,
  };
}

/** The key of a write inside its checkpoint, and its value, as the put script merges them. */
export function packWrite({ taskId, index, taskPath, channel, value }: WritePut): [key: Buffer, packed: Buffer] {
  const fields = [taskPath, taskId, String(index), channel].map((field) => Buffer.from(field));
  return [Buffer.from(`${taskId}\0${index}`), packFields([...fields, value])];
}

/** Writes as the put script keeps them: pairs of key and value. In order of path, task and index. */
export function unpackWrites(packed: Buffer | null): StoredWrite[] {
  if (packed === null) return [];
  const pairs = unpackFields(packed);
  const writes = pairs
    .filter((_, i) => i % 2 === 1)
    .map((value) => {
      const [path, task, index, channel, data] = unpackFields(value);
      return {
        taskPath: path?.toString() ?? "",
        taskId: task?.toString() ?? "",
        index: Number(index?.toString()),
        channel: channel?.toString() ?? "",
        value: data ?? Buffer.alloc(0),
      };
    });
  const order = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
  writes.sort((a, b) => order(a.taskPath, b.taskPath) || order(a.taskId, b.taskId) || a.index - b.index);
  return writes.map(({ index: _, ...write }) => write);
}

export function toCheckpoint(
  thread: ThreadKey,
  place: { namespace: string; checkpointId: string },
  record: CheckpointRecord,
  writes: Buffer | null,
): StoredCheckpoint {
  return {
    tenant: thread.tenant,
    threadId: thread.threadId,
    ...place,
    parentId: record.parentId,
    data: record.data,
    channels: record.channels.flatMap(({ channel, version, value }) => (value === undefined ? [] : [{ channel, version, value }])),
    writes: unpackWrites(writes),
    createdAt: record.createdAt,
  };
}

function packFields(fields: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    fields.flatMap((field) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(field.length);
      return [length, field];
    }),
  );
}

/** The whole fields; a cut off one ends the list. */
function unpackFields(packed: Buffer): Buffer[] {
  const fields: Buffer[] = [];
  for (let at = 0; at + 4 <= packed.length; ) {
    const end = at + 4 + packed.readUInt32BE(at);
    if (end > packed.length) break;
    fields.push(packed.subarray(at + 4, end));
    at = end;
  }
  return fields;
}
