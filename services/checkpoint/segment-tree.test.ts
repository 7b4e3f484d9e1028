import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { HASH_BYTES, hashKey } from "./content.js";
import { packValue, unpackValue } from "./packed-value.js";
import { buildTree, expandTree, planTrees, type SegmentTree } from "./segment-tree.js";

const hashes = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => createHash("sha256").update(`segment ${from + i}`).digest().subarray(0, HASH_BYTES));
const treeOf = (count: number) => buildTree(Buffer.concat(hashes(count)));
const nodesOf = (...trees: SegmentTree[]) =>
  new Map(trees.flatMap(({ levels }) => levels.flat()).map(({ hash, data }) => [hashKey(hash), data] as const));
const keys = (list: readonly Buffer[]) => list.map(hashKey);

describe("a tree", () => {
  test.each([0, 1, 15, 16, 17, 31, 32, 255, 256, 257, 4095, 4096, 5000])("over %i segments leads to all of them, in order", (count) => {
    const tree = treeOf(count);
    const nodes = nodesOf(tree);
    expect(expandTree(tree.refs, (key) => nodes.get(key))).toEqual(keys(hashes(count)));
    expect(tree.refs.length).toBeLessThanOrEqual(15 * 4);
  });

  test("survives being packed", () => {
    const { refs } = treeOf(300);
    const value = { encoding: "jsonl", refs, tail: Buffer.from("tail") };
    expect(unpackValue(packValue(value))).toEqual(value);
  });

  test("that is packed and cut off says so", () => {
    const packed = packValue({ encoding: "jsonl", refs: treeOf(20).refs, tail: Buffer.alloc(0) });
    for (let length = 0; length < packed.length; length += 1) expect(() => unpackValue(packed.subarray(0, length))).toThrow("cut off");
  });

  test("over a list that grows stores each node once, and names few", () => {
    const stored = new Set<string>();
    let named = 0;
    for (let count = 1; count <= 1000; count += 1) {
      const tree = treeOf(count);
      for (const { hash } of tree.levels.flat()) stored.add(hashKey(hash));
      named += tree.refs.length;
    }
    expect(stored.size).toBe(62 + 3);
    expect(named / 1000).toBeLessThan(20);
  });
});

describe("planning a put", () => {
  const none: ReadonlySet<string> = new Set();

  test("of a grown list stores the nodes that are new, and requires what it relies on", () => {
    const before = nodesOf(treeOf(31));
    const tree = treeOf(32);
    const added = new Set(keys(hashes(1, 31)));
    const { nodes, required } = planTrees([tree], added, false);
    expect(nodes.map(({ hash }) => hashKey(hash)).filter((key) => !before.has(key))).toEqual([hashKey(tree.refs[1]?.hash as Buffer)]);
    // The first node is there; the second one's other children must be.
    expect([...required.keys()].sort()).toEqual([hashKey(tree.refs[0]?.hash as Buffer), ...keys(hashes(15, 16))].sort());
  });

  test("never stores a node without requiring or storing all that is below", () => {
    for (const [from, to] of [[0, 1], [0, 40], [15, 16], [16, 300], [255, 257], [250, 4200]] as const) {
      const tree = treeOf(to);
      const added = new Set(keys(hashes(to - from, from)));
      const { nodes, required } = planTrees([tree], added, false);
      const there = new Set([...added, ...required.keys(), ...nodes.map(({ hash }) => hashKey(hash))]);
      for (const { data } of nodes) {
        for (let at = 0; at < data.length; at += HASH_BYTES) expect(there.has(hashKey(data.subarray(at, at + HASH_BYTES)))).toBe(true);
      }
      for (const { hash } of tree.refs) expect(there.has(hashKey(hash))).toBe(true);
    }
  });

  test("with nothing taken to be there stores every node and requires every other segment", () => {
    const tree = treeOf(300);
    const added = new Set(keys(hashes(10, 100)));
    const { nodes, required } = planTrees([tree], added, true);
    expect(nodes).toHaveLength(tree.levels.flat().length);
    expect([...required.keys()].sort()).toEqual(keys(hashes(300)).filter((key) => !added.has(key)).sort());
  });

  test("of several values that share nodes stores them once", () => {
    const { nodes } = planTrees([treeOf(64), treeOf(80)], none, true);
    expect(new Set(nodes.map(({ hash }) => hashKey(hash))).size).toBe(nodes.length);
  });

  test("of long lists stays small when one segment is added", () => {
    const tree = treeOf(100_000);
    const { nodes, required } = planTrees([tree], new Set(keys(hashes(1, 99_999))), false);
    expect(nodes.length).toBeLessThan(10);
    expect(required.size).toBeLessThan(150);
  });
});
