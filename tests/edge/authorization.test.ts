import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import { fromStatus } from "../../runtime/grpc-status.js";
import { reasonOf } from "../../runtime/errors.js";
import { freePort } from "../servers/free-port.js";
import { startTestMesh, type TestMesh } from "../support/mesh.js";

const ADMIN_KEY = "the-operator-s-key-of-this-test-mesh-only";
const LIST = "/ragents.rag.v1.RagService/ListCollections";

/** What Envoy is told of a request. */
async function ask(port: number, path: string, headers: Record<string, string>) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", headers });
  const details = response.headers.get("grpc-status-details-bin");
  return {
    status: response.status,
    ours: [...response.headers].filter(([name]) => name.startsWith("x-ragents-")).map(([name, value]) => [name, name === "x-ragents-identity" ? "..." : value]),
    reason: details === null ? undefined : reasonOf(fromStatus(fromBinary(StatusSchema, Buffer.from(details, "base64")))),
    text: await response.text(),
  };
}

const grpc = { "content-type": "application/grpc" };
const key = { authorization: `Bearer ${ADMIN_KEY}` };

describe("the gateway, asked by Envoy who calls", () => {
  let mesh: TestMesh;
  let port: number;
  beforeAll(async () => {
    port = await freePort();
    mesh = await startTestMesh({ RAGENTS_ADMIN_KEY: ADMIN_KEY, RAGENTS_AUTHORIZATION_PORT: String(port) });
  });
  afterAll(() => mesh?.stop());

  test("gives a gRPC call with a key its signed identity, and what limits go by", async () => {
    const { status, ours } = await ask(port, LIST, { ...grpc, ...key });
    expect([status, ours.toSorted()]).toEqual([200, [["x-ragents-identity", "..."], ["x-ragents-tenant", "local"], ["x-ragents-tier", "default"]]]);
  });

  test.each([
    ["without a key", {}, "CREDENTIALS_MISSING"],
    ["with a wrong one", { "x-api-key": `ragents_${"a".repeat(12)}_${"b".repeat(43)}` }, "CREDENTIALS_INVALID"],
    ["that says itself who it is", { "x-ragents-identity": "forged" }, "CREDENTIALS_MISSING"],
  ])("refuses a gRPC call %s, with the reason in gRPC's own form", async (_, headers, reason) => {
    const answer = await ask(port, LIST, { ...grpc, ...headers });
    expect(answer).toMatchObject({ status: 401, ours: [], reason });
  });

  test.each([
    ["REST", "/v1/collections", { "content-type": "application/json" }],
    ["Connect", LIST, { "content-type": "application/json" }],
    ["gRPC-Web", LIST, { "content-type": "application/grpc-web+proto" }],
    ["an RPC that there is not", "/ragents.rag.v1.RagService/Nothing", grpc],
  ])("leaves %s to the gateway's own answer, and never gives it an identity", async (_, path, headers) => {
    expect(await ask(port, path, headers)).toMatchObject({ status: 200, ours: [["x-ragents-stranger", "true"]] });
    const known = await ask(port, path, { ...headers, ...key });
    expect([known.status, known.ours.toSorted()]).toEqual([200, [["x-ragents-tenant", "local"], ["x-ragents-tier", "default"]]]);
  });
});

test("a mesh without keys has nothing to say", async () => {
  const port = await freePort();
  const mesh = await startTestMesh({ RAGENTS_AUTHORIZATION_PORT: String(port) });
  expect(await ask(port, LIST, { ...grpc, ...key })).toMatchObject({ status: 200, ours: [] });
  await mesh.stop();
});
