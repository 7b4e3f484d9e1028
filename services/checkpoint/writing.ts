import type { Content, Value } from "../../gen/ragents/checkpoint/v1/checkpoint_pb.js";
import { invalidField } from "../../runtime/errors.js";
import { hashKey, hashOf, packContent } from "./content.js";
import { missingContents } from "./errors.js";
import { packValue } from "./packed-value.js";
import { buildTree, planTrees, type SegmentTree } from "./segment-tree.js";
import type { Addition, PutOutcome } from "./store.js";

/** Collects the values of one put, and then stores them with what they name. */
export class PutPlan {
  readonly #trees: SegmentTree[] = [];
  readonly #contents: Addition["contents"];
  readonly #added: Set<string>;

  /** Throws INVALID_ARGUMENT when a content does not have its hash. */
  constructor(contents: readonly Content[]) {
    this.#contents = packContents(contents);
    this.#added = new Set(contents.map(({ hash }) => hashKey(hash)));
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

  #addition(allNodes: boolean): Addition {
    const { nodes, required } = planTrees(this.#trees, this.#added, allNodes);
    return {
      contents: [...this.#contents, ...nodes.map(({ hash, data }) => ({ hash, stored: packContent(data) }))],
      required: [...required.values()],
    };
  }
}

/** Contents as they are stored. Throws INVALID_ARGUMENT when one does not have its hash. */
export function packContents(contents: readonly Content[]): Addition["contents"] {
  return contents.map(({ hash, data }, i) => {
    const actual = hashOf(data);
    if (!actual.equals(hash)) throw invalidField(`contents[${i}].hash`, "is not the first 16 bytes of the SHA-256 of the data");
    return { hash: actual, stored: packContent(data) };
  });
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
