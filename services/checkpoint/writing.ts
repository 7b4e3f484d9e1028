import type { Contents, TaskWrites, Value } from "../../gen/ragents/checkpoint/v1/checkpoint_pb.js";
import { invalidField } from "../../runtime/errors.js";
import { HASH_BYTES, hashKey, hashOf, packContent } from "./content.js";
import { missingContents } from "./errors.js";
import { packValue } from "./packed-value.js";
import { buildTree, planTrees, type SegmentTree, type TreeNode } from "./segment-tree.js";
import type { Addition, PutOutcome, WritePut } from "./store.js";

/** Collects the values of one put, and then stores them with what they name. */
export class PutPlan {
  readonly #trees: SegmentTree[] = [];
  readonly #contents: readonly PackedSegment[];
  readonly #added: Set<string>;
  #nodes: readonly TreeNode[] = [];

  /** Throws INVALID_ARGUMENT when a segment does not have its hash. */
  constructor(contents: Contents | undefined) {
    this.#contents = contents === undefined ? [] : packContents(contents);
    this.#added = new Set(this.#contents.map(({ hash }) => hashKey(hash)));
  }

  /** The value as it will be stored. */
  pack(value: Value): Buffer {
    const tree = buildTree(value.segments);
    this.#trees.push(tree);
    return packValue({ encoding: value.encoding, refs: tree.refs, tail: value.tail });
  }

  /**
   * Runs `put` with what has most likely changed, which is nearly always right;
   * else with all nodes. Throws MISSING_CONTENTS when segments are missing.
   */
  async store(put: (addition: Addition) => Promise<PutOutcome>): Promise<PutOutcome> {
    let outcome = await put(this.#addition(false));
    const hasNodes = this.#trees.some(({ levels }) => levels.length > 0);
    if (outcome.missing.length > 0 && hasNodes) outcome = await put(this.#addition(true));
    if (outcome.missing.length > 0) throw missingContents(outcome.missing);
    return outcome;
  }

  /** What was stored, by hashKey: segments and nodes. */
  *added(): Generator<readonly [string, Buffer]> {
    // Copies: a segment is a part of its whole message, which would stay in memory with it.
    for (const { hash, data } of this.#contents) yield [hashKey(hash), Buffer.from(data)];
    for (const { hash, data } of this.#nodes) yield [hashKey(hash), Buffer.from(data)];
  }

  #addition(allNodes: boolean): Addition {
    const { nodes, required } = planTrees(this.#trees, this.#added, allNodes);
    this.#nodes = nodes;
    return {
      contents: [...this.#contents, ...nodes.map(({ hash, data }) => ({ hash, stored: packContent(data) }))],
      required: [...required.values()],
    };
  }
}

/** A segment as it came, and as it is stored. */
export interface PackedSegment {
  readonly hash: Buffer;
  readonly data: Uint8Array;
  readonly stored: Buffer;
}

/** Segments as they are stored. Throws INVALID_ARGUMENT when one does not have its hash. */
export function packContents({ hashes, sizes, data }: Contents): PackedSegment[] {
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  if (hashes.length !== sizes.length * HASH_BYTES) throw invalidField("contents.hashes", "must be 16 bytes for each of the sizes");
  if (bytes !== data.length) throw invalidField("contents.data", `must have as many bytes as the sizes say, which is ${bytes}`);
  let at = 0;
  return sizes.map((size, i) => {
    const segment = data.subarray(at, at + size);
    at += size;
    const hash = hashOf(segment);
    if (!hash.equals(hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES))) {
      throw invalidField(`contents.hashes[${i}]`, "is not the first half of the segment's SHA-256");
    }
    return { hash, data: segment, stored: packContent(segment) };
  });
}

/**
 * The writes of tasks as they are stored, each place in a task once: what
 * exists once in a task is what was written last, else the first write stays.
 */
export function packWrites(tasks: readonly TaskWrites[], plan: PutPlan): WritePut[] {
  const byPlace = new Map<string, WritePut>();
  for (const { checkpointNs: namespace, checkpointId, taskId, taskPath, writes } of tasks) {
    for (const { index, channel, value } of writes) {
      const place = JSON.stringify([namespace, checkpointId, taskId, index]);
      if (value === undefined || (index >= 0 && byPlace.has(place))) continue;
      byPlace.set(place, { namespace, checkpointId, taskId, taskPath, index, channel, value: plan.pack(value) });
    }
  }
  return [...byPlace.values()];
}

/** A checkpoint and its metadata in one column: the length of the first in four bytes, then both. */
export function packData(data: Uint8Array, metadata: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  return Buffer.concat([length, data, metadata]);
}

/** What the database can search of a JSON object given as bytes. Throws INVALID_ARGUMENT naming `field` when it is none. */
export function searchableJson(field: string, bytes: Uint8Array): string {
  let value: unknown;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
  try {
    value = JSON.parse(text);
  } catch {
    throw invalidField(field, "is not JSON; give a JSON object in UTF-8");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalidField(field, "must be a JSON object");
  // jsonb holds neither NUL nor half a surrogate pair; JSON writes both as \u escapes.
  return text.includes("\\u") ? JSON.stringify(value, (_, part: unknown) => storable(part)) : text;
}

function storable(part: unknown): unknown {
  if (typeof part === "string") return storableText(part);
  if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
  return Object.fromEntries(Object.entries(part).map(([key, value]) => [storableText(key), value]));
}

function storableText(text: string): string {
  return text.replaceAll(/\0|\p{Surrogate}/gu, "\u{FFFD}");
}
