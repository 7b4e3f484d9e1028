import type { Client } from "@connectrpc/connect";
import { z } from "zod";
import type { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import type { CallOptions } from "./chat-completions.js";
import { unsupportedParameter } from "./openai-error.js";

/** Texts that one request may have embedded, as OpenAI's own limit is. */
const MAX_TEXTS = 2048;
/** Texts of one RPC: EmbedTextsRequest's limit. */
const TEXTS_PER_CALL = 128;

const text = z.string("give texts; tokens are not read").min(1, "must not be empty");

/** The body of POST /v1/embeddings. */
export const embeddingsRequestSchema = z.looseObject({
  model: z.string().min(1).max(128).describe("The embedding model, as GET /v1/models names it."),
  input: z.union([text, z.array(text).min(1).max(MAX_TEXTS)], `give a text, or 1 to ${MAX_TEXTS} texts, none of them empty`).describe("What to embed."),
  encoding_format: z.enum(["float", "base64"]).nullish().describe("How vectors are written; base64 is of 32-bit little-endian floats."),
  dimensions: z.int().min(1).nullish().describe("The model's own number of components; no other can be had."),
});

/** Embeds the texts of a request, in their order. */
export async function embed(rag: Client<typeof RagService>, request: z.infer<typeof embeddingsRequestSchema>, options: CallOptions) {
  const texts = typeof request.input === "string" ? [request.input] : request.input;
  const vectors: number[][] = [];
  let tokens = 0;
  for (let at = 0; at < texts.length; at += TEXTS_PER_CALL) {
    const part = await rag.embedTexts({ model: request.model, texts: texts.slice(at, at + TEXTS_PER_CALL) }, options);
    vectors.push(...part.embeddings.map(({ values }) => values));
    tokens += Number(part.inputTokens);
  }
  const dimension = vectors[0]?.length ?? 0;
  if (typeof request.dimensions === "number" && request.dimensions !== dimension) {
    throw unsupportedParameter("dimensions", `${request.model} makes ${dimension} components`);
  }
  const written = request.encoding_format === "base64" ? base64 : (vector: number[]) => vector;
  return {
    object: "list",
    data: vectors.map((vector, index) => ({ object: "embedding", index, embedding: written(vector) })),
    model: request.model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}

function base64(vector: number[]): string {
  const bytes = Buffer.alloc(vector.length * 4);
  vector.forEach((value, i) => bytes.writeFloatLE(value, i * 4));
  return bytes.toString("base64");
}
