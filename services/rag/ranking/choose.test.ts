import { describe, expect, test } from "vitest";
import { autocut } from "./autocut.js";
import { choose } from "./choose.js";

function candidates(...ids: string[]) {
  return ids.map((id, i) => {
    const [document = "", ordinal = "0"] = id.split("#");
    return { id, ordinal: Number(ordinal), document: { id: document, source: "", title: "", metadata: {} }, score: 1 - i / 10 };
  });
}

const idsOf = (chosen: readonly { id: string }[]) => chosen.map(({ id }) => id);
const plain = { k: 3, maxPerDocument: undefined, neighbours: 0, mmr: undefined };

describe("choosing passages", () => {
  test("takes the best k", () => {
    expect(idsOf(choose(candidates("a#1", "a#2", "b#1", "c#1"), plain))).toEqual(["a#1", "a#2", "b#1"]);
  });

  test("takes no more of a document than allowed, and fills up with others", () => {
    expect(idsOf(choose(candidates("a#1", "a#9", "a#5", "b#1", "c#1"), { ...plain, maxPerDocument: 1 }))).toEqual(["a#1", "b#1", "c#1"]);
  });

  test("leaves out what a better passage takes in with its neighbours", () => {
    expect(idsOf(choose(candidates("a#4", "a#5", "a#6", "b#5", "a#2"), { ...plain, neighbours: 1 }))).toEqual(["a#4", "a#6", "b#5"]);
  });

  test.each([
    { lambda: 1, expected: ["a", "twin", "other"] },
    { lambda: 0.5, expected: ["a", "other", "twin"] },
  ])("with lambda $lambda, of two that say the same one comes later: $expected", ({ lambda, expected }) => {
    const vectors = [Float32Array.of(1, 0), Float32Array.of(1, 0), Float32Array.of(0, 1)];
    expect(idsOf(choose(candidates("a", "twin", "other"), { ...plain, mmr: { lambda, vectors } }))).toEqual(expected);
  });

  test("maximal marginal relevance keeps the limits", () => {
    const vectors = candidates("a#1", "a#7", "b#1").map(() => Float32Array.of(1, 0));
    expect(idsOf(choose(candidates("a#1", "a#7", "b#1"), { ...plain, maxPerDocument: 1, mmr: { lambda: 0.5, vectors } }))).toEqual(["a#1", "b#1"]);
  });

  test("of nothing nothing is chosen", () => {
    expect(choose([], { ...plain, mmr: { lambda: 0.5, vectors: [] } })).toEqual([]);
  });
});

describe("autocut", () => {
  test.each([
    { scores: [0.9, 0.88, 0.4, 0.38], kept: 2 },
    { scores: [0.9, 0.3, 0.29], kept: 1 },
    { scores: [0.9, 0.85, 0.8, 0.75], kept: 4 },
    { scores: [0.9, 0.6, 0.3], kept: 1 },
    { scores: [0.5, 0.5], kept: 2 },
    { scores: [0, 0], kept: 2 },
    { scores: [0.7], kept: 1 },
    { scores: [], kept: 0 },
  ])("of $scores keeps $kept", ({ scores, kept }) => {
    expect(autocut(scores.map((score) => ({ score })))).toHaveLength(kept);
  });
});
