import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { reasonOf, retryAfterMsOf } from "../../runtime/errors.js";
import { failureOf } from "../failure-of.js";
import { type AgentMesh, startAgentMesh } from "./agent-mesh.js";

let folder: string;
let mesh: AgentMesh;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ragents-limits-"));
  const limits = join(folder, "limits.yaml");
  await writeFile(limits, "tiers: { local: { burst: 2, per_hour: 2 } }\n");
  mesh = await startAgentMesh({ RAGENTS_RATELIMIT_CONFIG: limits });
});
afterAll(async () => {
  await mesh.stop();
  await rm(folder, { recursive: true });
});

test("a tenant that has asked enough is told when to ask again, and still gets what is cached", async () => {
  for (const query of ["Is it one?", "Is it two?"]) await mesh.agent.query({ query });
  const error = await failureOf(mesh.agent.query({ query: "Is it three?" }));
  expect([error.code, reasonOf(error)]).toEqual([Code.ResourceExhausted, "BUCKET_EMPTY"]);
  expect(retryAfterMsOf(error)).toBeGreaterThan(1_000);
  const [info] = error.findDetails(ErrorInfoSchema);
  expect(info?.metadata).toEqual({ key: "agent.runs", limit: "2", window_s: "3600" });
  expect((await mesh.agent.query({ query: "Is it two?" })).metadata?.cached).toBe(true);
});
