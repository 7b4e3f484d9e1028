import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  ChannelStateSchema,
  type Checkpoint,
  CheckpointSchema,
  type Contents,
  ContentsSchema,
  PendingWriteSchema,
  type Value,
  ValueSchema,
} from "../../gen/ragents/checkpoint/v1/checkpoint_pb.js";
import { DamagedContentError, HASH_BYTES } from "./content.js";
import { checkpointDamaged, contentsNotFound } from "./errors.js";
import { unpackValue } from "./packed-value.js";
import type { SegmentReader } from "./segment-reader.js";
import { expandTree, type SegmentRef } from "./segment-tree.js";
import type { CheckpointStore, ListQuery, StoredCheckpoint, ThreadKey } from "./store.js";

/** Contents of one message: far below the 4 MiB that every gRPC client accepts. */
const MESSAGE_BYTES = 2 * 1024 * 1024;
/** Checkpoints that a list reads at a time. */
const PAGE_SIZE = 50;

type Segments = ReadonlyMap<string, Buffer>;

/** Segments that need not be read, for whoever asks has them. */
type Known = Pick<ReadonlySet<string>, "has">;

const ALL: Known = { has: () => true };

export interface Reading {
  readonly store: CheckpointStore;
  readonly segments: SegmentReader;
}

/** A message of a list: contents, and in the last one of each checkpoint the checkpoint. */
export interface CheckpointPart {
  checkpoint?: Checkpoint;
  contents: Contents;
}

/**
 * A checkpoint as it travels, with the contents of its segments that fit into
 * one message, or none, which are not read then. Undefined when there is none;
 * throws DATA_LOSS, naming it, when what was read of it is damaged.
 */
export async function readCheckpoint(
  { store, segments }: Reading,
  thread: ThreadKey,
  place: { namespace: string; checkpointId: string | undefined; withoutContents: boolean },
  now: Date,
): Promise<CheckpointPart | undefined> {
  const known = place.withoutContents ? ALL : undefined;
  for (let attempt = 1; ; attempt += 1) {
    const stored = await store.get(thread, place.namespace, place.checkpointId, now);
    if (stored === undefined) return undefined;
    try {
      const opened = openCheckpoint(stored, await segments.read(thread, refsOf(stored), known), known);
      const [contents] = toContents(opened.segments);
      return { checkpoint: opened.checkpoint, contents: contents ?? create(ContentsSchema) };
    } catch (error) {
      if (!(error instanceof DamagedContentError)) throw error;
      // It may have been deleted between the two readings.
      if (attempt === 2) throw checkpointDamaged(stored.threadId, [stored.checkpointId], error);
    }
  }
}

/** The first of the named segments, as many as fit into one message. Throws NOT_FOUND when one of them is not there. */
export async function readContents({ segments }: Reading, thread: ThreadKey, hashes: Uint8Array): Promise<Contents> {
  const refs: SegmentRef[] = [];
  for (let at = 0; at < hashes.length; at += HASH_BYTES) {
    refs.push({ level: 0, hash: Buffer.from(hashes.buffer, hashes.byteOffset + at, HASH_BYTES) });
  }
  // Segments are at most as large as the message: the first ones fill it.
  const found = await segments.read(thread, refs.slice(0, MAX_READ_SEGMENTS));
  const wanted = expandTree(refs.slice(0, MAX_READ_SEGMENTS), () => undefined);
  const parts = new Map(wanted.map((key) => [key, found.get(key)] as const));
  if ([...parts.values()].includes(undefined)) throw contentsNotFound(thread.threadId);
  return [...toContents(parts as Segments)][0] ?? create(ContentsSchema);
}

/** Segments that one call looks up. */
const MAX_READ_SEGMENTS = 4096;

/**
 * The messages of a list; a content is sent once for as long as the thread
 * stays the same. Throws DATA_LOSS at its end when checkpoints were damaged.
 */
export async function* listParts(
  reading: Reading,
  query: ListQuery,
  limit: number,
  now: Date,
): AsyncGenerator<CheckpointPart> {
  const damaged: StoredCheckpoint[] = [];
  let after: StoredCheckpoint | undefined;
  let left = limit;
  let sent = new Set<string>();
  while (left > 0) {
    const size = Math.min(left, PAGE_SIZE);
    const page = await reading.store.list(query, after, size, now);
    for (const ofThread of byThread(page)) {
      const thread = ofThread[0] as StoredCheckpoint;
      if (thread.threadId !== after?.threadId) sent = new Set();
      const segments = await reading.segments.read(thread, ofThread.flatMap(refsOf), sent);
      for (const stored of ofThread) {
        after = stored;
        try {
          const opened = openCheckpoint(stored, segments, sent);
          yield* inMessages(opened);
          for (const key of opened.segments.keys()) sent.add(key);
        } catch (error) {
          if (!(error instanceof DamagedContentError)) throw error;
          if ((await reading.store.get(stored, stored.namespace, stored.checkpointId, now)) !== undefined) damaged.push(stored);
        }
      }
    }
    left -= page.length;
    if (page.length < size) break;
  }
  if (damaged[0] !== undefined) {
    throw checkpointDamaged(damaged[0].threadId, damaged.map(({ checkpointId }) => checkpointId));
  }
}

/** Neighbours of one thread. */
function byThread(page: readonly StoredCheckpoint[]): StoredCheckpoint[][] {
  const groups: StoredCheckpoint[][] = [];
  for (const checkpoint of page) {
    const last = groups.at(-1);
    if (last?.[0]?.threadId === checkpoint.threadId) last.push(checkpoint);
    else groups.push([checkpoint]);
  }
  return groups;
}

/** What a checkpoint's values name; nothing of a damaged value, which is found out when it is opened. */
function refsOf(checkpoint: StoredCheckpoint): SegmentRef[] {
  return [...checkpoint.channels, ...checkpoint.writes].flatMap(({ value }) => {
    try {
      return unpackValue(value).refs;
    } catch {
      return [];
    }
  });
}

/** The checkpoint as it travels, and the bytes of its segments that are not in `sent`, by hashKey. */
function openCheckpoint(stored: StoredCheckpoint, found: Segments, sent?: Known) {
  const segments = new Map<string, Buffer>();
  const find = (key: string): Buffer => {
    const data = found.get(key);
    if (data === undefined) throw new DamagedContentError("a segment is gone, or does not have its checksum");
    return data;
  };
  const open = (packed: Buffer): Value => {
    const { encoding, refs, tail } = unpackValue(packed);
    const keys = expandTree(refs, find);
    for (const key of keys) {
      if (!sent?.has(key) && !segments.has(key)) segments.set(key, find(key));
    }
    return create(ValueSchema, { encoding, segments: Buffer.from(keys.join(""), "latin1"), tail });
  };
  const checkpoint = create(CheckpointSchema, {
    threadId: stored.threadId,
    checkpointNs: stored.namespace,
    checkpointId: stored.checkpointId,
    parentCheckpointId: stored.parentId ?? "",
    ...splitData(stored.data),
    channels: stored.channels.map(({ channel, version, value }) =>
      create(ChannelStateSchema, { channel, version, value: open(value) }),
    ),
    pendingWrites: stored.writes.map(({ taskId, taskPath, channel, value }) =>
      create(PendingWriteSchema, { taskId, taskPath, channel, value: open(value) }),
    ),
    createTime: timestampFromDate(stored.createdAt),
  });
  return { checkpoint, segments };
}

function splitData(packed: Buffer): { data: Buffer; metadata: Buffer } {
  const length = packed.length < 4 ? Number.POSITIVE_INFINITY : packed.readUInt32BE(0);
  if (4 + length > packed.length) throw new DamagedContentError("the checkpoint is cut off");
  return { data: packed.subarray(4, 4 + length), metadata: packed.subarray(4 + length) };
}

function* inMessages({ checkpoint, segments }: { checkpoint: Checkpoint; segments: Segments }): Generator<CheckpointPart> {
  let last = create(ContentsSchema);
  let first = true;
  for (const contents of toContents(segments)) {
    if (!first) yield { contents: last };
    last = contents;
    first = false;
  }
  yield { checkpoint, contents: last };
}

/** Segments one after the other, in messages. */
function* toContents(segments: Segments): Generator<Contents> {
  let batch: [string, Buffer][] = [];
  let bytes = 0;
  for (const entry of segments) {
    if (bytes > 0 && bytes + entry[1].length > MESSAGE_BYTES) {
      yield contentsOf(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(entry);
    bytes += entry[1].length;
  }
  if (batch.length > 0) yield contentsOf(batch);
}

function contentsOf(segments: readonly [string, Buffer][]): Contents {
  return create(ContentsSchema, {
    hashes: Buffer.from(segments.map(([key]) => key).join(""), "latin1"),
    sizes: segments.map(([, data]) => data.length),
    data: Buffer.concat(segments.map(([, data]) => data)),
  });
}
