import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAgentClient } from "../../clients/agent/index.js";
import { createRagClient } from "../../clients/rag/index.js";
import { AgentService } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { reasonOf } from "../../runtime/errors.js";
import { failureOf } from "../failure-of.js";
import { jobEnd, startTestMesh, type TestMesh } from "../support/mesh.js";

const ADMIN_KEY = "the-operator-s-key-of-this-test-mesh-only";

const reasonIn = (body: { details: { reason: string }[] }) => body.details[0]?.reason;
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

/** Makes a key over REST; resolves to its secret and id. */
async function makeKey(mesh: TestMesh, as: string | undefined, request: object): Promise<{ secret: string; id: string }> {
  const { status, body } = await mesh.rest("POST", "/v1/keys", request, as === undefined ? {} : bearer(as));
  expect(status, JSON.stringify(body)).toBe(200);
  return { secret: body.secret, id: body.api_key.id };
}

describe("a mesh with an admin key", () => {
  let mesh: TestMesh;
  let writer: { secret: string; id: string };

  beforeAll(async () => {
    mesh = await startTestMesh({ RAGENTS_ADMIN_KEY: ADMIN_KEY });
    writer = await makeKey(mesh, ADMIN_KEY, { tenant: "acme", user: "alice", roles: ["writer"], tier: "gold", display_name: "ci" });
  });
  afterAll(() => mesh?.stop());

  test("answers about its health and its API without a key, and nothing else", async () => {
    expect((await mesh.rest("GET", "/health")).body.status).toBe("healthy");
    expect((await mesh.rest("GET", "/openapi.json")).status).toBe(200);
    for (const [method, path] of [["GET", "/agents"], ["POST", "/query"], ["GET", "/v1/collections"], ["POST", "/cache/clear"], ["GET", "/v1/keys"]] as const) {
      const { status, body, headers } = await mesh.rest(method, path, method === "POST" ? { query: "q" } : undefined);
      expect([path, status, reasonIn(body)]).toEqual([path, 401, "CREDENTIALS_MISSING"]);
      expect(headers.get("www-authenticate")).toBe("Bearer");
    }
  });

  test.each([
    ["an unknown key", bearer(`ragents_${"a".repeat(12)}_${"b".repeat(43)}`)],
    ["the admin key with a letter more", bearer(`${ADMIN_KEY}x`)],
    ["another scheme", { authorization: "Basic YTpi" }],
    ["an identity of its own making", { "x-ragents-identity": "eyJhbGciOiJub25lIn0.eyJ0ZW5hbnQiOiJhY21lIn0." }],
  ])("refuses %s", async (_, headers) => {
    const { status, body } = await mesh.rest("GET", "/agents", undefined, headers as Record<string, string>);
    expect(status).toBe(401);
    expect(reasonIn(body)).toMatch(/^CREDENTIALS_(INVALID|MISSING)$/);
  });

  test("takes a key in either header, by REST and by Connect", async () => {
    expect((await mesh.rest("GET", "/agents", undefined, bearer(writer.secret))).status).toBe(200);
    expect((await mesh.rest("GET", "/agents", undefined, { "x-api-key": writer.secret })).status).toBe(200);
    const connect = createClient(AgentService, createConnectTransport({ baseUrl: mesh.url, httpVersion: "1.1" }));
    expect((await connect.listAgents({}, { headers: bearer(writer.secret) })).agents.length).toBeGreaterThan(0);
    const error = await failureOf(connect.listAgents({}));
    expect([error.code, reasonOf(error)]).toEqual([Code.Unauthenticated, "CREDENTIALS_MISSING"]);
  });

  test("drops what a client says it is beside its key", async () => {
    const headers = { ...bearer(writer.secret), "x-ragents-identity": "forged", "x-tenant": "local" };
    expect((await mesh.rest("GET", "/v1/identity", undefined, headers)).body).toEqual({ tenant: "acme", user: "alice", roles: ["WRITER"], tier: "gold" });
  });

  test("lets gRPC clients in with a key, and nobody without", async () => {
    const rag = createRagClient({ address: mesh.addressOf("rag"), apiKey: writer.secret });
    const stranger = createAgentClient({ address: mesh.addressOf("agent") });
    expect((await rag.listCollections({})).collections.map(({ id }) => id)).toEqual(["default"]);
    const error = await failureOf(stranger.listAgents({}));
    expect([error.code, reasonOf(error)]).toEqual([Code.Unauthenticated, "CREDENTIALS_MISSING"]);
    rag.close();
    stranger.close();
  });

  test("shows keys without their secrets", async () => {
    const { body } = await mesh.rest("GET", "/v1/keys?tenant=acme", undefined, bearer(ADMIN_KEY));
    expect(body.api_keys).toHaveLength(1);
    expect(body.api_keys[0]).toMatchObject({ id: writer.id, display_name: "ci", tenant: "acme", user: "alice", roles: ["WRITER"], tier: "gold" });
    expect(JSON.stringify(body)).not.toContain(writer.secret.slice(writer.id.length));
  });

  test("answers questions for a reader over what a writer brought, and refuses the reader's changes", async () => {
    const reader = await makeKey(mesh, ADMIN_KEY, { tenant: "acme", roles: ["reader"] });
    const documents = [{ id: "heron", text: "The heron eats frogs. It stands still for hours in shallow water." }];
    const ingest = (key: string) => mesh.rest("POST", "/v1/collections/default/documents:ingest", { documents }, bearer(key));

    const refused = await ingest(reader.secret);
    expect([refused.status, reasonIn(refused.body)]).toEqual([403, "ROLE_MISSING"]);
    const { body: job } = await ingest(writer.secret);
    expect(await jobEnd(mesh, job.id, bearer(writer.secret))).toMatchObject({ state: "SUCCEEDED" });

    // The run writes the thread and the cache: the agent service may, though the reader may not.
    const { status, body } = await mesh.rest("POST", "/query", { query: "What does the heron eat?", thread_id: "t" }, bearer(reader.secret));
    expect(status).toBe(200);
    expect(body.response).toContain("frogs");
    expect((await mesh.rest("GET", "/v1/threads/t/messages", undefined, bearer(reader.secret))).body.messages).toHaveLength(2);
    expect((await mesh.rest("DELETE", "/v1/threads/t", undefined, bearer(reader.secret))).status).toBe(403);
    expect((await mesh.rest("POST", "/cache/clear", {}, bearer(writer.secret))).status).toBe(403);
  });

  test("lets a tenant's admin manage the keys of its own tenant only", async () => {
    const admin = await makeKey(mesh, ADMIN_KEY, { tenant: "globex", roles: ["admin"] });
    const own = await makeKey(mesh, admin.secret, { roles: ["reader"] });
    const list = await mesh.rest("GET", "/v1/keys", undefined, bearer(admin.secret));
    expect(list.body.api_keys.map(({ id }: { id: string }) => id).sort()).toEqual([admin.id, own.id].sort());

    const elsewhere = await mesh.rest("POST", "/v1/keys", { tenant: "acme", roles: ["reader"] }, bearer(admin.secret));
    expect([elsewhere.status, reasonIn(elsewhere.body)]).toEqual([403, "TENANT_NOT_ALLOWED"]);
    expect((await mesh.rest("GET", "/v1/keys?tenant=acme", undefined, bearer(admin.secret))).status).toBe(403);
    const foreign = await mesh.rest("DELETE", `/v1/keys/${writer.id}`, undefined, bearer(admin.secret));
    expect([foreign.status, reasonIn(foreign.body)]).toEqual([404, "KEY_NOT_FOUND"]);
    expect((await mesh.rest("DELETE", `/v1/keys/${own.id}`, undefined, bearer(admin.secret))).body.id).toBe(own.id);
  });

  test("keeps the server's folders for the tenant whose they are", async () => {
    const ingest = (key: string) => mesh.rest("POST", "/v1/collections/default/documents:ingest", { path: "LICENSE" }, bearer(key));
    const foreign = await ingest(writer.secret);
    expect([foreign.status, JSON.stringify(foreign.body.details)]).toEqual([400, expect.stringContaining("PATH_NOT_ALLOWED")]);
    expect((await ingest(ADMIN_KEY)).status).toBe(200);
  });

  test("refuses a revoked key from the next call on", async () => {
    const key = await makeKey(mesh, ADMIN_KEY, { tenant: "acme", roles: ["reader"] });
    const call = () => mesh.rest("GET", "/agents", undefined, bearer(key.secret));
    expect((await call()).status).toBe(200);
    const revoked = await mesh.rest("DELETE", `/v1/keys/${key.id}`, undefined, bearer(ADMIN_KEY));
    expect(revoked.body.revoke_time).toBeTypeOf("string");
    expect(await call()).toMatchObject({ status: 401, body: { details: [{ reason: "CREDENTIALS_INVALID" }] } });
    expect((await mesh.rest("DELETE", `/v1/keys/${key.id}`, undefined, bearer(ADMIN_KEY))).body.revoke_time).toBe(revoked.body.revoke_time);
  });

  test("makes one key for a repeated request", async () => {
    const request = { tenant: "acme", roles: ["reader"], idempotency_key: "once" };
    const { id } = await makeKey(mesh, ADMIN_KEY, request);
    const again = await mesh.rest("POST", "/v1/keys", request, bearer(ADMIN_KEY));
    expect([again.status, reasonIn(again.body), again.body.details[0].metadata.key]).toEqual([409, "KEY_EXISTS", id]);
  });

  test.each([
    [{ roles: [] }, "roles"],
    [{ roles: ["owner"] }, "roles"],
    [{ roles: ["reader", "reader"] }, "roles"],
    [{ roles: ["reader"], tenant: "a:b" }, "tenant"],
    [{ roles: ["reader"], tenant: "a".repeat(65) }, "tenant"],
    [{ roles: ["reader"], ttl: "59s" }, "ttl"],
    [{ roles: ["reader"], tier: "a b" }, "tier"],
    [{ roles: ["reader"], user: "a\nb" }, "user"],
  ])("refuses %j naming the field", async (request, field) => {
    const { status, body } = await mesh.rest("POST", "/v1/keys", request, bearer(ADMIN_KEY));
    expect(status).toBe(400);
    expect(JSON.stringify(body.details)).toContain(`"field":"${field}`);
  });

  test("lists keys page by page", async () => {
    const tenant = "pages";
    const ids = [];
    for (let i = 0; i < 3; i += 1) ids.unshift((await makeKey(mesh, ADMIN_KEY, { tenant, roles: ["reader"] })).id);
    const page = (token: string) => mesh.rest("GET", `/v1/keys?tenant=${tenant}&page_size=2&page_token=${token}`, undefined, bearer(ADMIN_KEY));
    const first = await page("");
    const second = await page(first.body.next_page_token);
    const listed = [...first.body.api_keys, ...second.body.api_keys].map(({ id }: { id: string }) => id);
    expect(listed.sort()).toEqual(ids.sort());
    expect(second.body.next_page_token).toBe("");
    expect(reasonIn((await page("e30")).body)).toBe("INVALID_PAGE_TOKEN");
  });
});

describe("a mesh without keys", () => {
  let mesh: TestMesh;
  beforeAll(async () => {
    mesh = await startTestMesh();
  });
  afterAll(() => mesh?.stop());

  test("serves everyone as the local tenant, whatever key a client sends, until the first key exists", async () => {
    expect((await mesh.rest("GET", "/v1/identity", undefined, bearer("sk-unused"))).body).toMatchObject({ tenant: "local", roles: ["ADMIN"] });
    const useless = await mesh.rest("POST", "/v1/keys", { roles: ["writer"] });
    expect([useless.status, reasonIn(useless.body)]).toEqual([400, "FIRST_KEY_NOT_ADMIN"]);
    expect((await mesh.rest("GET", "/agents")).status).toBe(200);

    const first = await makeKey(mesh, undefined, { roles: ["admin"] });
    expect((await mesh.rest("GET", "/agents")).status).toBe(401);
    expect((await mesh.rest("GET", "/v1/identity", undefined, bearer(first.secret))).body).toMatchObject({ tenant: "local", roles: ["ADMIN"] });
    const grpc = createAgentClient({ address: mesh.addressOf("agent") });
    expect((await failureOf(grpc.listAgents({}))).code).toBe(Code.Unauthenticated);
    grpc.close();
  });

  test("stays closed when its last key is revoked", async () => {
    const { body } = await mesh.rest("GET", "/agents");
    expect(reasonIn(body)).toBe("CREDENTIALS_MISSING");
  });
});
