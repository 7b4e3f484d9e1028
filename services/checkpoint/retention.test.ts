import { describe, expect, test } from "vitest";
import { chooseDeletable } from "./retention.js";
import type { CheckpointAge } from "./store.js";

/** "namespace/id", "namespace/id<parent" or "namespace/id<<parent" when it needs its parent. */
function ages(...places: string[]): CheckpointAge[] {
  return places.map((place) => {
    const [, namespace = "", checkpointId = "", arrow, parentId] = /^(.*)\/([^<]+)(?:(<<?)(.+))?$/.exec(place) ?? [];
    return { namespace, checkpointId, parentId, needsParent: arrow === "<<" };
  });
}
const deletable = (keep: number, ...places: string[]) =>
  chooseDeletable(ages(...places), keep).map(({ namespace, checkpointId }) => `${namespace}/${checkpointId}`).sort();

describe("pruning a thread", () => {
  test.each([
    { title: "keeps the newest", keep: 2, all: ["/1", "/4", "/2", "/3"], gone: ["/1", "/2"] },
    { title: "keeps the last one whatever it is told", keep: 0, all: ["/1", "/2"], gone: ["/1"] },
    { title: "keeps all when there are no more", keep: 5, all: ["/1", "/2"], gone: [] },
    { title: "does nothing to nothing", keep: 5, all: [], gone: [] },
    { title: "lets a parent go that is not needed", keep: 1, all: ["/1", "/2<1", "/3<2"], gone: ["/1", "/2"] },
    { title: "keeps a parent that is needed", keep: 1, all: ["/1", "/2<1", "/3<<2"], gone: ["/1"] },
    { title: "keeps what is needed by what is needed", keep: 1, all: ["/1", "/2<1", "/3<<2", "/4<<3"], gone: ["/1"] },
    { title: "keeps what an older kept branch needs", keep: 2, all: ["/1", "/2<1", "/3<<1", "/4<2"], gone: ["/2"] },
    { title: "bears a parent that is gone", keep: 1, all: ["/2<<1", "/3<<2"], gone: [] },
    { title: "keeps the newest of each lasting subgraph", keep: 1, all: ["/5", "/6", "sub/1", "sub/2", "other/3"], gone: ["/5", "sub/1"] },
    { title: "keeps a subgraph's run with the root checkpoint it ran under", keep: 2, all: ["/1", "/3", "/5", "sub:x/2", "sub:y/4", "sub:z/6"], gone: ["/1", "sub:x/2"] },
    { title: "keeps runs inside runs the same way", keep: 1, all: ["/1", "/5", "a:x|b:y/2", "a:x|b:y/6"], gone: ["/1", "a:x|b:y/2"] },
    { title: "keeps runs of a thread without a root", keep: 1, all: ["sub:x/1", "sub:x/2"], gone: [] },
    { title: "keeps what a kept run needs", keep: 1, all: ["/1", "/4", "sub:x/3", "sub:x/5<<3", "sub:x/2"], gone: ["/1", "sub:x/2"] },
  ])("$title", ({ keep, all, gone }) => {
    expect(deletable(keep, ...all)).toEqual(gone.sort());
  });
});
