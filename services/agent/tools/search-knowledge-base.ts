import type { Client } from "@connectrpc/connect";
import type { RagService } from "../../../gen/ragents/rag/v1/rag_service_pb.js";
import { retrieve } from "../nodes/retrieve.js";
import type { Tool } from "./tool.js";

export const SEARCH_TOOL = "search_knowledge_base";

/** Searches the run's collection, with its filters and mode. */
export function searchKnowledgeBase(rag: Client<typeof RagService>): Tool {
  return {
    name: SEARCH_TOOL,
    description: "Searches the documents and returns numbered passages. Search again with other words when they do not hold the answer.",
    parameters: {
      type: "object",
      properties: {
        query: { type: "string", minLength: 1, maxLength: 1000, description: "What to look for: a question or key words." },
        top_k: { type: "integer", minimum: 1, maximum: 20, description: "How many passages to return." },
      },
      required: ["query"],
      additionalProperties: false,
    },
    async run({ query, top_k }, { settings, signal }) {
      const topK = typeof top_k === "number" ? top_k : settings.topK;
      return { passages: await retrieve(rag, String(query), { ...settings, topK }, signal) };
    },
  };
}
