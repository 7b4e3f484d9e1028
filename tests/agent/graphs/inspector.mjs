import { AIMessage } from "@langchain/core/messages";
import { Annotation, END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";

/** A registered agent of the tests: two steps, a search, and settings of its own. */
const State = Annotation.Root({ ...MessagesAnnotation.spec, question: Annotation(), settings: Annotation(), passages: Annotation() });

export default {
  type: "inspector",
  description: "Quotes the first passage.",
  configSchema: { type: "object", properties: { greeting: { type: "string", maxLength: 20 } } },
  graph: ({ search }) =>
    new StateGraph(State)
      .addNode("look", async ({ question, settings }, { signal }) => ({ passages: await search(question, settings, signal) }))
      .addNode("tell", async ({ passages, settings }) => {
        const first = passages[0]?.text.split("\n").at(-1) ?? "Nothing";
        return { messages: [new AIMessage(`${settings.agentConfig?.greeting ?? "Found"}: ${first} [1]`)] };
      })
      .addEdge(START, "look")
      .addEdge("look", "tell")
      .addEdge("tell", END),
};
