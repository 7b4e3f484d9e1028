import { Code, type ConnectError } from "@connectrpc/connect";
import { z } from "zod";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import { ConfigError, integer } from "../../../runtime/config.js";
import { meshError } from "../../../runtime/errors.js";
import { BUILTIN_RERANKER, builtinReranker } from "./builtin-reranker.js";
import { httpReranker } from "./http-reranker.js";
import type { Reranker } from "./reranker.js";

/** Variables of the reranker that a server runs. */
export const rerankerConfigSchema = z.object({
  RAGENTS_RERANK_URL: z.url({ protocol: /^https?$/, error: "give an http:// or https:// URL" }).optional(),
  RAGENTS_RERANK_MODEL: z.string().max(128, "give at most 128 characters").optional(),
  RAGENTS_RERANK_API_KEY: z.string().optional(),
  RAGENTS_RERANK_TIMEOUT_MS: integer({ default: 5_000, min: 100, max: 60_000, unit: "milliseconds" }),
});
export type RerankerConfig = z.infer<typeof rerankerConfigSchema>;

/** What a server's reranker is called when its model has no name. */
const UNNAMED = "http";

export type Rerankers = ReadonlyMap<string, Reranker>;

/** The built-in reranker, and the configured server's under its model's name. Throws ConfigError for a name that is taken. */
export function openRerankers(config: RerankerConfig): Rerankers {
  const rerankers = new Map([[BUILTIN_RERANKER, builtinReranker]]);
  if (config.RAGENTS_RERANK_URL === undefined) return rerankers;
  const name = config.RAGENTS_RERANK_MODEL ?? UNNAMED;
  if ([BUILTIN_RERANKER, "none"].includes(name)) throw new ConfigError(`RAGENTS_RERANK_MODEL: ${name} means something else; give another name`);
  const server = httpReranker({
    name,
    url: config.RAGENTS_RERANK_URL,
    model: config.RAGENTS_RERANK_MODEL,
    apiKey: config.RAGENTS_RERANK_API_KEY,
    timeoutMs: config.RAGENTS_RERANK_TIMEOUT_MS,
  });
  return rerankers.set(name, server);
}

/** INVALID_ARGUMENT UNKNOWN_RERANKER naming the known ones when `name` is none of them. */
export function rerankerNamed(rerankers: Rerankers, name: string): Reranker {
  const reranker = rerankers.get(name);
  if (reranker === undefined) throw unknownReranker(name, [...rerankers.keys()]);
  return reranker;
}

function unknownReranker(name: string, known: readonly string[]): ConnectError {
  const names = ["none", ...known].join(", ");
  return meshError(Code.InvalidArgument, ErrorReason.UNKNOWN_RERANKER, `There is no reranker ${JSON.stringify(name)}; known: ${names}.`, {
    metadata: { known: names },
    violations: [{ field: "ranking.rerank", description: `must be one of ${names}` }],
  });
}
