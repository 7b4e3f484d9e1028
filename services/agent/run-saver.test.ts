import { Annotation, END, interrupt, START, StateGraph } from "@langchain/langgraph";
import { type CheckpointTuple, MemorySaver } from "@langchain/langgraph-checkpoint";
import { expect, test, vi } from "vitest";
import { NewThreadSaver, RunSaver, threadConfig } from "./run-saver.js";

const State = Annotation.Root({ said: Annotation<string[], string[]>({ reducer: (left, right) => [...left, ...right], default: () => [] }) });

/** A graph of two steps, whose second one asks when the question does, before a saver that is watched. */
function watched(make: (saver: MemorySaver) => RunSaver) {
  const saver = new MemorySaver();
  const seen = { put: vi.spyOn(saver, "put"), putWrites: vi.spyOn(saver, "putWrites"), getTuple: vi.spyOn(saver, "getTuple") };
  const graph = new StateGraph(State)
    .addNode("one", async () => ({ said: ["one"] }))
    .addNode("two", async ({ said }) => ({ said: [said[0] === "ask" ? String(interrupt("may I?")) : "two"] }))
    .addEdge(START, "one")
    .addEdge("one", "two")
    .addEdge("two", END)
    .compile({ checkpointer: make(saver) });
  const run = (said: string, configurable: Record<string, unknown> = { thread_id: "t" }) => graph.invoke({ said: [said] }, { configurable, durability: "sync" });
  return { saver, seen, graph, run };
}

test("a run is a checkpoint for its input and one for each step, with nothing stored twice", async () => {
  const { saver, seen, run } = watched((inner) => new RunSaver(inner));
  expect((await run("go")).said).toEqual(["go", "one", "two"]);
  expect(seen.put.mock.calls.map(([, { channel_values }, { source, step }]) => [source, step, channel_values["said"]])).toEqual([
    ["input", 0, ["go"]],
    ["loop", 1, ["go", "one"]],
    ["loop", 2, ["go", "one", "two"]],
  ]);
  expect(seen.putWrites).not.toHaveBeenCalled();
  await run("again");
  const stored: CheckpointTuple[] = [];
  for await (const tuple of saver.list({ configurable: { thread_id: "t" } })) stored.push(tuple);
  for (const [i, { parentConfig }] of stored.entries()) expect(parentConfig?.configurable?.["checkpoint_id"]).toBe(stored[i + 1]?.checkpoint.id);
});

test("what a task asks is stored, and the run goes on from there", async () => {
  const { seen, graph, run } = watched((inner) => new RunSaver(inner));
  await run("ask");
  expect(seen.putWrites.mock.calls.map(([, [write]]) => write?.[0])).toEqual(["__interrupt__"]);
  const { tasks, next } = await graph.getState({ configurable: { thread_id: "t" } });
  expect([next, tasks[0]?.interrupts[0]?.value]).toEqual([["two"], "may I?"]);
});

test("what a task wrote is stored where its step cannot end, and is not done again", async () => {
  const saver = new MemorySaver();
  const putWrites = vi.spyOn(saver, "putWrites");
  let done = 0;
  let fails = true;
  const graph = new StateGraph(State)
    .addNode("quick", async () => ({ said: [`quick ${(done += 1)}`] }))
    .addNode("slow", async () => {
      await vi.waitFor(() => expect(putWrites).toHaveBeenCalled());
      if (fails) throw new Error("not now");
      return { said: ["slow"] };
    })
    .addEdge(START, "quick")
    .addEdge(START, "slow")
    .compile({ checkpointer: new RunSaver(saver) });
  const config = { configurable: { thread_id: "t" }, durability: "sync" as const };
  await expect(graph.invoke({ said: [] }, config)).rejects.toThrow("not now");
  fails = false;
  expect((await graph.invoke(null, config)).said).toEqual(["quick 1", "slow"]);
});

test("a thread whose newest checkpoint is given is not read, nor is one that was just begun", async () => {
  const { saver, seen, run } = watched((inner) => new RunSaver(inner));
  await run("go");
  const head = await saver.getTuple({ configurable: { thread_id: "t" } });
  seen.getTuple.mockClear();
  expect((await run("on", threadConfig("t", head))).said).toEqual(["go", "one", "two", "on", "one", "two"]);
  expect(seen.getTuple).not.toHaveBeenCalled();
  const fresh = watched((inner) => new NewThreadSaver(inner));
  await fresh.run("go");
  expect(fresh.seen.getTuple).not.toHaveBeenCalled();
});
