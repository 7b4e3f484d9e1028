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
import { DamagedContentError, hashKey, unpackContent } from "./content.js";
import { checkpointDamaged } from "./errors.js";
import { unpackValue } from "./packed-value.js";
import { expandTree, type SegmentRef } from "./segment-tree.js";
import type { CheckpointKey, CheckpointStore, ListQuery, StoredCheckpoint, StoredContents, ThreadKey } from "./store.js";

/** A message of a stream: contents, and in the last one of each checkpoint the checkpoint. */
export interface CheckpointPart {
  checkpoint?: Checkpoint;
  contents: Contents;
}

/** Contents of one message: far below the 4 MiB that every gRPC client accepts. */
const MESSAGE_BYTES = 2 * 1024 * 1024;
/** Checkpoints that a list reads at a time. */
const PAGE_SIZE = 50;

/** The messages of one checkpoint. Throws DATA_LOSS, naming it, when its stored bytes are damaged. */
export function* checkpointParts(checkpoint: StoredCheckpoint, contents: StoredContents): Generator<CheckpointPart> {
  let opened: ReturnType<typeof openCheckpoint>;
  try {
    opened = openCheckpoint(checkpoint, contents, new Set());
  } catch (error) {
    if (!(error instanceof DamagedContentError)) throw error;
    throw checkpointDamaged(checkpoint.threadId, [checkpoint.checkpointId], error);
  }
  yield* inMessages(opened);
}

/**
 * The messages of a list; a content is sent once for as long as the thread
 * stays the same. Throws DATA_LOSS at its end when checkpoints were damaged.
 */
export async function* listParts(
  store: CheckpointStore,
  query: ListQuery,
  limit: number,
  now: Date,
): AsyncGenerator<CheckpointPart> {
  const damaged: CheckpointKey[] = [];
  let after: CheckpointKey | undefined;
  let left = limit;
  let thread = new ThreadContents(store, { tenant: query.tenant, threadId: "" });
  while (left > 0) {
    const size = Math.min(left, PAGE_SIZE);
    const page = await store.list(query, after, size, now);
    for (const [i, checkpoint] of page.entries()) {
      if (checkpoint.threadId !== thread.key.threadId) thread = new ThreadContents(store, checkpoint);
      const ofThread = page.slice(i).filter(({ threadId }) => threadId === checkpoint.threadId);
      try {
        const opened = openCheckpoint(checkpoint, await thread.load(ofThread), thread.sent);
        yield* inMessages(opened);
        thread.markSent(opened.segments.keys());
      } catch (error) {
        if (!(error instanceof DamagedContentError)) throw error;
        damaged.push(checkpoint);
      }
      left -= 1;
    }
    if (page.length < size) break;
    after = page.at(-1);
  }
  if (damaged[0] !== undefined) {
    throw checkpointDamaged(damaged[0].threadId, damaged.map(({ checkpointId }) => checkpointId));
  }
}

/** What a list has read of a thread, and what of it the reader has. */
class ThreadContents {
  readonly #store: CheckpointStore;
  readonly #loaded = new Map<string, Buffer>();
  #asked = new Set<StoredCheckpoint>();
  readonly sent = new Set<string>();
  readonly key: ThreadKey;

  constructor(store: CheckpointStore, key: ThreadKey) {
    this.#store = store;
    this.key = { tenant: key.tenant, threadId: key.threadId };
  }

  /** Reads what these checkpoints name and was not read yet, at once. */
  async load(checkpoints: readonly StoredCheckpoint[]): Promise<StoredContents> {
    const news = checkpoints.filter((checkpoint) => !this.#asked.has(checkpoint));
    if (news.length === 0) return this.#loaded;
    this.#asked = new Set(checkpoints);
    const wanted = new Map<string, SegmentRef>();
    for (const packed of news.flatMap(packedValues)) {
      for (const ref of readableRefs(packed)) {
        const key = hashKey(ref.hash);
        if (!this.#loaded.has(key) && !this.sent.has(key)) wanted.set(key, ref);
      }
    }
    if (wanted.size > 0) {
      for (const [key, stored] of await this.#store.contents(this.key, [...wanted.values()])) this.#loaded.set(key, stored);
    }
    return this.#loaded;
  }

  /** Their bytes are the reader's now. */
  markSent(keys: Iterable<string>): void {
    for (const key of keys) {
      this.sent.add(key);
      this.#loaded.delete(key);
    }
  }
}

function packedValues(checkpoint: StoredCheckpoint): Buffer[] {
  return [...checkpoint.channels, ...checkpoint.writes].map(({ value }) => value);
}

/** References of a value; none of a damaged one, which is found out when it is opened. */
function readableRefs(packed: Buffer): readonly SegmentRef[] {
  try {
    return unpackValue(packed).refs;
  } catch {
    return [];
  }
}

/** The checkpoint as it travels, and the bytes of its segments that are not in `sent`, by hashKey. */
function openCheckpoint(stored: StoredCheckpoint, contents: StoredContents, sent: ReadonlySet<string>) {
  const segments = new Map<string, Buffer>();
  const find = (key: string): Buffer => {
    const bytes = contents.get(key);
    if (bytes === undefined) throw new DamagedContentError("a segment is gone");
    return unpackContent(bytes);
  };
  const open = (packed: Buffer): Value => {
    const { encoding, refs, tail } = unpackValue(packed);
    const hashes = expandTree(refs, (hash) => find(hashKey(hash)));
    for (const hash of hashes) {
      const key = hashKey(hash);
      if (!sent.has(key) && !segments.has(key)) segments.set(key, find(key));
    }
    return create(ValueSchema, { encoding, segments: Buffer.concat(hashes), tail });
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

function* inMessages(opened: { checkpoint: Checkpoint; segments: ReadonlyMap<string, Buffer> }): Generator<CheckpointPart> {
  let batch: [string, Buffer][] = [];
  let bytes = 0;
  for (const entry of opened.segments) {
    if (bytes > 0 && bytes + entry[1].length > MESSAGE_BYTES) {
      yield { contents: contentsOf(batch) };
      batch = [];
      bytes = 0;
    }
    batch.push(entry);
    bytes += entry[1].length;
  }
  yield { checkpoint: opened.checkpoint, contents: contentsOf(batch) };
}

function contentsOf(segments: readonly [string, Buffer][]): Contents {
  return create(ContentsSchema, {
    hashes: Buffer.from(segments.map(([key]) => key).join(""), "latin1"),
    sizes: segments.map(([, data]) => data.length),
    data: Buffer.concat(segments.map(([, data]) => data)),
  });
}
