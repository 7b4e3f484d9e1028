import type { JsonObject } from "@bufbuild/protobuf";
import { z } from "zod";
import { chatRequestSchema } from "./chat-request.js";
import { responsesRequestSchema } from "./responses-request.js";
import { embeddingsRequestSchema } from "./embeddings.js";

/** What OpenAPI says of the endpoints of OpenAI's API. */
export interface OpenApiPart {
  readonly tag: JsonObject;
  readonly paths: JsonObject;
  readonly schemas: JsonObject;
}

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });
const text = { type: "string" };
const count = { type: "integer", minimum: 0 };
const object = (properties: JsonObject, optional: string[] = []) => ({
  type: "object",
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
  properties,
});

const model = {
  ...object({ id: text, object: { const: "model" }, created: { type: "integer" }, owned_by: text }),
  description: "An agent, or a model that makes embeddings.",
};
const ownFields = object({ thread_id: text, model: text, model_version: text, agent_version: text, collection: text, cached: { type: "boolean" }, trace_id: text });
const completion = {
  ...object({
    id: text,
    object: { const: "chat.completion" },
    created: { type: "integer" },
    model: text,
    choices: {
      type: "array",
      items: object({
        index: count,
        message: object(
          {
            role: { const: "assistant" },
            content: { type: ["string", "null"] },
            refusal: { type: "null" },
            annotations: { type: "array", items: { type: "object" }, description: "The sources, at the places that cite them." },
            tool_calls: { type: "array", items: { type: "object" } },
          },
          ["tool_calls"],
        ),
        logprobs: { type: "null" },
        finish_reason: { enum: ["stop", "tool_calls"] },
      }),
    },
    usage: object({ prompt_tokens: count, completion_tokens: count, total_tokens: count }),
    ragents: ownFields,
  }),
  description: "An agent's answer.",
};
const response = {
  ...object({
    id: text,
    object: { const: "response" },
    created_at: { type: "integer" },
    status: { const: "completed" },
    model: text,
    output: {
      type: "array",
      items: object({
        type: { const: "message" },
        id: text,
        status: { const: "completed" },
        role: { const: "assistant" },
        content: {
          type: "array",
          items: object({
            type: { const: "output_text" },
            text,
            annotations: { type: "array", items: { type: "object" }, description: "The sources, at the places that cite them." },
            logprobs: { type: "array", items: { type: "object" } },
          }),
        },
      }),
    },
    usage: object({
      input_tokens: count,
      input_tokens_details: object({ cached_tokens: count }),
      output_tokens: count,
      output_tokens_details: object({ reasoning_tokens: count }),
      total_tokens: count,
    }),
    ragents: ownFields,
  }),
  description: "An agent's answer.",
};

const schemas: JsonObject = {
  OpenAiError: {
    ...object({
      error: object({ message: text, type: text, param: { type: ["string", "null"] }, code: { type: ["string", "null"] } }),
    }),
    description: "What went wrong, in OpenAI's form.",
  },
  OpenAiModel: model,
  OpenAiModelList: { ...object({ object: { const: "list" }, data: { type: "array", items: ref("OpenAiModel") } }), description: "The models." },
  ChatCompletion: completion,
  ChatCompletionRequest: requestSchema(chatRequestSchema),
  AgentResponse: response,
  AgentResponseRequest: requestSchema(responsesRequestSchema),
  EmbeddingsRequest: requestSchema(embeddingsRequestSchema),
  EmbeddingList: {
    ...object({
      object: { const: "list" },
      data: {
        type: "array",
        items: object({
          object: { const: "embedding" },
          index: count,
          embedding: { oneOf: [{ type: "array", items: { type: "number" } }, text] },
        }),
      },
      model: text,
      usage: object({ prompt_tokens: count, total_tokens: count }),
    }),
    description: "The vectors, in the order of the texts.",
  },
};

function answer(description: string, schema: string): JsonObject {
  return { description, content: { "application/json": { schema: ref(schema) } } };
}

function body(schema: string): JsonObject {
  return { required: true, content: { "application/json": { schema: ref(schema) } } };
}

const errors: JsonObject = {
  "400": answer("The request does not fit the API.", "OpenAiError"),
  "404": answer("There is no such model.", "OpenAiError"),
  default: answer("Any other error.", "OpenAiError"),
};

/** The part of the document that no proto describes. */
export const openAiPart: OpenApiPart = {
  tag: { name: "OpenAI", description: "The part of OpenAI's API that its clients ask agents by." },
  schemas,
  paths: {
    "/v1/chat/completions": {
      post: {
        operationId: "OpenAi_CreateChatCompletion",
        tags: ["OpenAI"],
        summary: "Asks an agent, in OpenAI's form",
        requestBody: body("ChatCompletionRequest"),
        responses: {
          "200": {
            description: "The answer. With stream, events whose data are chunks in OpenAI's form; the last is [DONE].",
            content: { "application/json": { schema: ref("ChatCompletion") }, "text/event-stream": { schema: { type: "string" } } },
          },
          ...errors,
        },
      },
    },
    "/v1/responses": {
      post: {
        operationId: "OpenAi_CreateResponse",
        tags: ["OpenAI"],
        summary: "Asks an agent, in the form of OpenAI's responses",
        requestBody: body("AgentResponseRequest"),
        responses: {
          "200": {
            description: "The answer. With stream, events as they are named in OpenAI's API; the last is response.completed.",
            content: { "application/json": { schema: ref("AgentResponse") }, "text/event-stream": { schema: { type: "string" } } },
          },
          ...errors,
        },
      },
    },
    "/v1/embeddings": {
      post: {
        operationId: "OpenAi_CreateEmbeddings",
        tags: ["OpenAI"],
        summary: "Embeds texts, in OpenAI's form",
        requestBody: body("EmbeddingsRequest"),
        responses: { "200": answer("The vectors.", "EmbeddingList"), ...errors },
      },
    },
    "/v1/models": {
      get: {
        operationId: "OpenAi_ListModels",
        tags: ["OpenAI"],
        summary: "Lists the agents and the embedding models, in OpenAI's form",
        responses: { "200": answer("The models.", "OpenAiModelList"), ...errors },
      },
    },
    "/v1/models/{model}": {
      get: {
        operationId: "OpenAi_GetModel",
        tags: ["OpenAI"],
        summary: "Returns an agent or embedding model, in OpenAI's form",
        parameters: [{ name: "model", in: "path", required: true, schema: { type: "string" }, description: "Its id." }],
        responses: { "200": answer("The model.", "OpenAiModel"), ...errors },
      },
    },
  },
};

function requestSchema(schema: z.ZodType): JsonObject {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return rest as JsonObject;
}
