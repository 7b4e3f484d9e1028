// A program of somebody else: every export of the package, with its types.
import { createClient } from "@connectrpc/connect";
import { type AgentClient, createAgentClient } from "ragents-mesh/agent";
import { type CacheScope, createCacheClient } from "ragents-mesh/cache";
import { GrpcCheckpointSaver, type ThreadSummary } from "ragents-mesh/checkpoint";
import { CheckpointService } from "ragents-mesh/gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import type { Thread } from "ragents-mesh/gen/ragents/checkpoint/v1/checkpoint_pb";
import { createRagClient } from "ragents-mesh/rag";
import { PriorityQueue, RateLimiter, type RateLimitDecision } from "ragents-mesh/ratelimit";

const scope: CacheScope = { collection: "handbook", epoch: 7, model: "static-256", parameters: "{}" };
const cache = createCacheClient({ address: "127.0.0.1:1" });
// Nobody listens: a cache that cannot be reached is a miss.
const filled: { value: Uint8Array; cached: boolean } = await cache.getOrCompute("ANSWER", scope, "question", async () => Buffer.from("made"));
cache.close();

const limiter = new RateLimiter({ address: "127.0.0.1:1", onUnavailable: "open" });
const decision: RateLimitDecision = await limiter.check("user:1");
await limiter.close();

const agent: AgentClient = createAgentClient();
agent.close();
createRagClient().close();

const saver = new GrpcCheckpointSaver({ address: "127.0.0.1:1" });
saver.close();

export type Shapes = [ThreadSummary, Thread, ReturnType<typeof createClient<typeof CheckpointService>>];

// @ts-expect-error: a saver has to know where the service is.
const missing = () => new GrpcCheckpointSaver();
// @ts-expect-error: there are four kinds of entries.
const unknown = () => cache.get("WEATHER", scope, "question");

process.stdout.write(
  JSON.stringify({
    value: Buffer.from(filled.value).toString(),
    allowed: decision.allowed,
    service: CheckpointService.typeName,
    others: [typeof PriorityQueue, typeof missing, typeof unknown],
  }),
);
