import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { DecisionSchema } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import { decisionMetrics } from "./decision-metrics.js";

test("counts every decision by its outcome, also those of a batch and those that are errors", async () => {
  const registry = new Registry();
  const decide = (key: string) =>
    create(DecisionSchema, { allowed: key !== "refused", unlimited: key === "unlimited", degraded: key === "degraded" });
  const transport = createRouterTransport(
    ({ service }) =>
      void service(RateLimitService, {
        check: ({ key }) => ({ decision: decide(key) }),
        batchCheck: ({ checks }) => ({ results: checks.map(({ key }) => ({ result: { case: "decision", value: decide(key) } })) }),
        acquire({ key }) {
          if (key === "never") throw new ConnectError("cost: too large", Code.InvalidArgument);
          if (key === "refused") throw new ConnectError("too late", Code.ResourceExhausted);
          return { decision: decide(key) };
        },
        leaseQuota: ({ shares }) => ({
          shares: shares.map(({ key }) => {
            if (key === "never") return { error: { code: Code.InvalidArgument } };
            return { degraded: key === "degraded", ...(key === "refused" && { wait: durationFromMs(1_000) }) };
          }),
        }),
        getLimit: ({ key }) => ({ decision: decide(key) }),
      }),
    { router: { interceptors: [decisionMetrics(registry)] } },
  );
  const client = createClient(RateLimitService, transport);
  await client.check({ key: "a" });
  await client.batchCheck({ checks: [{ key: "a" }, { key: "refused" }, { key: "unlimited" }] });
  await client.leaseQuota({ shares: [{ key: "degraded" }, { key: "never" }, { key: "refused" }, { key: "a" }] });
  await client.acquire({ key: "a" });
  await expect(client.acquire({ key: "refused" })).rejects.toThrow("too late");
  await expect(client.acquire({ key: "never" })).rejects.toThrow("too large");
  await client.getLimit({ key: "a" });
  const [metric] = await registry.getMetricsAsJSON();
  expect(Object.fromEntries(metric!.values.map(({ labels, value }) => [labels["outcome"], value]))).toEqual({
    allowed: 4,
    refused: 3,
    unlimited: 1,
    degraded: 1,
  });
});
