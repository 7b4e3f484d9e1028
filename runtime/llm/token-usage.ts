import type { MessageInitShape } from "@bufbuild/protobuf";
import type { TokenUsageSchema } from "../../gen/ragents/rag/v1/rag_pb.js";
import type { Usage } from "./language-model.js";

/** Usage as responses tell it. */
export function toTokenUsage({ inputTokens, outputTokens, costUsd = 0 }: Usage): MessageInitShape<typeof TokenUsageSchema> {
  return {
    inputTokens: BigInt(inputTokens),
    outputTokens: BigInt(outputTokens),
    totalTokens: BigInt(inputTokens + outputTokens),
    costUsd,
  };
}
