// A program of somebody else: a LangGraph conversation that is kept in the checkpoint service.
// Usage: node conversation.js ADDRESS THREAD TEXT; prints the conversation so far as JSON.
import { AIMessage, type BaseMessage, HumanMessage } from "@langchain/core/messages";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { GrpcCheckpointSaver } from "ragents-mesh/checkpoint";

const [address = "", thread = "", text = ""] = process.argv.slice(2);

const checkpointer = new GrpcCheckpointSaver({ address });
const graph = new StateGraph(MessagesAnnotation)
  .addNode("answer", ({ messages }) => ({ messages: [new AIMessage(`You said ${messages.length} things.`)] }))
  .addEdge(START, "answer")
  .addEdge("answer", END)
  .compile({ checkpointer });

const { messages } = await graph.invoke(
  { messages: [new HumanMessage(text)] },
  { configurable: { thread_id: thread }, durability: "sync" },
);
const said = (messages as BaseMessage[]).map((message) => [message.constructor.name, message.content]);
process.stdout.write(JSON.stringify({ said, checkpoints: (await checkpointer.getThread(thread))?.checkpointCount }));
checkpointer.close();
