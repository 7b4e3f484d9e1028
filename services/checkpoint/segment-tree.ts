import { HASH_BYTES, hashKey, hashOf } from "./content.js";

/**
 * Long values share most of their segments with the version before: naming all
 * of them in every checkpoint would make a conversation's storage grow with the
 * square of its length. So every 16 hashes become a node, stored like a segment
 * under its own hash; every 16 nodes become one of the next level; and a value
 * names only what is left over on each level, at most 15 a level. Appending a
 * segment changes one of those, and equal lists have equal trees.
 */
export const FAN_OUT = 16;
export const NODE_BYTES = FAN_OUT * HASH_BYTES;

/** Names a segment (level 0) or a node whose children are one level below. */
export interface SegmentRef {
  readonly level: number;
  readonly hash: Buffer;
}

/** Sixteen hashes, stored under their own. */
export interface TreeNode {
  readonly hash: Buffer;
  readonly data: Buffer;
}

/** A value's segments as it is stored: what it names, in order, and the nodes below that. */
export interface SegmentTree {
  readonly refs: readonly SegmentRef[];
  /** Nodes by level, from 1, in order. */
  readonly levels: readonly (readonly TreeNode[])[];
}

/** Builds the tree over hashes that stand one after the other. */
export function buildTree(hashes: Uint8Array): SegmentTree {
  const refs: SegmentRef[][] = [];
  const levels: TreeNode[][] = [];
  let row: Uint8Array = hashes;
  for (let level = 0; row.length > 0; level += 1) {
    const whole = row.length - (row.length % NODE_BYTES);
    const rest: SegmentRef[] = [];
    for (let at = whole; at < row.length; at += HASH_BYTES) rest.push({ level, hash: slice(row, at, HASH_BYTES) });
    refs.unshift(rest);
    const nodes: TreeNode[] = [];
    for (let at = 0; at < whole; at += NODE_BYTES) {
      const data = slice(row, at, NODE_BYTES);
      nodes.push({ hash: hashOf(data), data });
    }
    if (nodes.length > 0) levels.push(nodes);
    row = Buffer.concat(nodes.map(({ hash }) => hash));
  }
  return { refs: refs.flat(), levels };
}

/** The hashes that a node names. */
export function childrenOf(node: Uint8Array): Buffer[] {
  return Array.from({ length: FAN_OUT }, (_, i) => slice(node, i * HASH_BYTES, HASH_BYTES));
}

/**
 * The keys of the segments below `refs`, in order. `nodes` gives the bytes of a
 * node; segments below one that it does not have are left out.
 */
export function expandTree(refs: readonly SegmentRef[], nodes: (key: string) => Uint8Array | undefined): string[] {
  const segments: string[] = [];
  const visit = (level: number, key: string) => {
    if (level === 0) segments.push(key);
    else for (const child of childKeys(nodes(key))) visit(level - 1, child);
  };
  for (const { level, hash } of refs) visit(level, hashKey(hash));
  return segments;
}

function childKeys(node: Uint8Array | undefined): string[] {
  if (node === undefined) return [];
  const text = hashKey(node);
  return Array.from({ length: text.length / HASH_BYTES }, (_, i) => text.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES));
}

/** What a put adds beside the value itself. */
export interface TreePlan {
  /** Nodes to store. */
  readonly nodes: TreeNode[];
  /** Hashes that must be stored already, segments' and nodes'. */
  readonly required: Map<string, Buffer>;
}

/**
 * Finds what has to be stored so that every segment of `trees` can be reached.
 * `added` are the hashes that the put brings along. Nodes that hold none of
 * them, and are not the last of their level, are taken to be there, which the
 * store checks; with `all`, nothing is taken to be there but segments.
 */
export function planTrees(trees: readonly SegmentTree[], added: ReadonlySet<string>, all: boolean): TreePlan {
  const plan: TreePlan = { nodes: [], required: new Map() };
  const planned = new Set<string>();
  const need = (hash: Buffer) => {
    const key = hashKey(hash);
    if (!added.has(key) && !planned.has(key)) plan.required.set(key, hash);
  };
  for (const tree of trees) {
    // From the segments up: a node is new when one of its children is, or may be.
    let fresh: ReadonlySet<string> = added;
    for (const nodes of tree.levels) {
      const next = new Set<string>();
      nodes.forEach((node, i) => {
        const isNew = all || i === nodes.length - 1 || childKeys(node.data).some((child) => fresh.has(child));
        if (!isNew) return;
        const key = hashKey(node.hash);
        next.add(key);
        if (planned.has(key)) return;
        for (const child of childrenOf(node.data)) need(child);
        planned.add(key);
        plan.nodes.push(node);
      });
      fresh = next;
    }
    for (const { hash } of tree.refs) need(hash);
  }
  for (const key of planned) plan.required.delete(key);
  return plan;
}

function slice(bytes: Uint8Array, at: number, length: number): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, length);
}
