import { AIMessage, type BaseMessage, HumanMessage } from "@langchain/core/messages";
import { Command, END, interrupt, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GrpcCheckpointSaver } from "../../clients/checkpoint/index.js";
import { openPglite } from "../../runtime/sql/pglite.js";
import type { CheckpointStore } from "../../services/checkpoint/store.js";
import { openSqlCheckpointStore } from "../../services/checkpoint/store-sql.js";
import { type CheckpointServer, serveCheckpoints } from "./checkpoint-server.js";

describe("a LangGraph program that keeps its state in the checkpoint service", () => {
  let store: CheckpointStore;
  let server: CheckpointServer;
  let checkpointer: GrpcCheckpointSaver;
  beforeAll(async () => {
    store = await openSqlCheckpointStore(await openPglite());
    server = await serveCheckpoints(store);
    checkpointer = new GrpcCheckpointSaver({ address: server.address });
  });
  afterAll(async () => {
    checkpointer.close();
    await server.stop();
    await store.close();
  });

  const texts = (messages: BaseMessage[]) => messages.map(({ content }) => content);
  const parrot = () =>
    new StateGraph(MessagesAnnotation)
      .addNode("answer", ({ messages }) => ({ messages: [new AIMessage(`You said: ${String(messages.at(-1)?.content)}`)] }))
      .addEdge(START, "answer")
      .addEdge("answer", END)
      .compile({ checkpointer });

  test("goes on with a conversation in another process", async () => {
    const config = { configurable: { thread_id: "talk" }, durability: "sync" as const };
    await parrot().invoke({ messages: [new HumanMessage("one")] }, config);
    const elsewhere = new GrpcCheckpointSaver({ address: server.address });
    const graph = parrot();
    graph.checkpointer = elsewhere;
    const { messages } = await graph.invoke({ messages: [new HumanMessage("two")] }, config);
    elsewhere.close();
    expect(texts(messages)).toEqual(["one", "You said: one", "two", "You said: two"]);
    expect(messages.every((message) => message instanceof HumanMessage || message instanceof AIMessage)).toBe(true);
  });

  test("lists its history and forks from a point of it", async () => {
    const config = { configurable: { thread_id: "history" }, durability: "sync" as const };
    const graph = parrot();
    await graph.invoke({ messages: [new HumanMessage("one")] }, config);
    await graph.invoke({ messages: [new HumanMessage("two")] }, config);
    const history = [];
    for await (const snapshot of graph.getStateHistory(config)) history.push(snapshot);
    expect(history.map(({ values }) => (values.messages ?? []).length)).toEqual([4, 3, 2, 2, 1, 0]);
    const past = history[2];
    const forked = await graph.invoke({ messages: [new HumanMessage("other")] }, { ...config, ...past?.config });
    expect(texts(forked.messages)).toEqual(["one", "You said: one", "other", "You said: other"]);
    // The branch did not change what the other one remembers.
    const other = await graph.getState(history[0]?.config ?? config);
    expect(texts(other.values.messages)).toEqual(["one", "You said: one", "two", "You said: two"]);
  });

  test("copies a checkpoint and goes on from the copy", async () => {
    const config = { configurable: { thread_id: "copy" }, durability: "sync" as const };
    const graph = parrot();
    await graph.invoke({ messages: [new HumanMessage("one")] }, config);
    const state = await graph.getState(config);
    const copy = await graph.updateState(state.config, null, "__copy__");
    expect(texts((await graph.getState(copy)).values.messages)).toEqual(["one", "You said: one"]);
  });

  test("waits for a person and is resumed", async () => {
    const config = { configurable: { thread_id: "approval" }, durability: "sync" as const };
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("ask", () => ({ messages: [new AIMessage(`answer: ${interrupt("Shall I?")}`)] }))
      .addEdge(START, "ask")
      .addEdge("ask", END)
      .compile({ checkpointer });
    await graph.invoke({ messages: [new HumanMessage("do it")] }, config);
    expect((await graph.getState(config)).tasks[0]?.interrupts[0]?.value).toBe("Shall I?");
    const { messages } = await graph.invoke(new Command({ resume: "yes" }), config);
    expect(texts(messages)).toEqual(["do it", "answer: yes"]);
  });

  test("keeps a subgraph's state in a namespace of its own", async () => {
    const inner = new StateGraph(MessagesAnnotation)
      .addNode("step", () => ({ messages: [new AIMessage("from inside")] }))
      .addNode("pause", () => ({ messages: [new AIMessage(String(interrupt("inside")))] }))
      .addEdge(START, "step")
      .addEdge("step", "pause")
      .compile();
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("inner", inner)
      .addEdge(START, "inner")
      .compile({ checkpointer });
    const config = { configurable: { thread_id: "nested" }, durability: "sync" as const };
    await graph.invoke({ messages: [new HumanMessage("go")] }, config);
    const { tasks } = await graph.getState(config, { subgraphs: true });
    const state = tasks[0]?.state as { values: { messages: BaseMessage[] } };
    expect(texts(state.values.messages)).toEqual(["go", "from inside"]);
    const { messages } = await graph.invoke(new Command({ resume: "resumed" }), config);
    expect(texts(messages)).toEqual(["go", "from inside", "resumed"]);
  });
});
