import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTestMesh, type TestMesh } from "../support/mesh.js";
import { ragents } from "../support/ragents.js";

describe("ragents keys", () => {
  let mesh: TestMesh;
  beforeAll(async () => {
    mesh = await startTestMesh();
  });
  afterAll(() => mesh?.stop());

  test("closes an open mesh with the first key, works with RAGENTS_API_KEY from then on, and ends keys", async () => {
    const { url } = mesh;
    const useless = await ragents(["keys", "create", "--role", "reader"], { url });
    expect(useless).toMatchObject({ code: 1, stdout: "" });
    expect(useless.stderr).toContain("The first key must have the role admin");

    const first = await ragents(["keys", "create", "--role", "admin", "--name", "mine"], { url });
    expect(first.code, first.stderr).toBe(0);
    expect(first.stdout).toMatch(/^ragents_\w{12}_\w{43}\n$/);
    const apiKey = first.stdout.trim();

    const closed = await ragents(["status"], { url });
    expect(closed.code).toBe(1);
    expect(closed.stderr).toBe(
      'This mesh asks for an API key: send it as "Authorization: Bearer KEY" or "X-API-Key: KEY". These commands read it from RAGENTS_API_KEY.\n',
    );
    expect((await ragents(["status"], { url, apiKey })).stdout).toMatch(/^healthy/);

    const made = await ragents(["keys", "create", "-r", "reader", "-r", "writer", "--user", "ci", "--tier", "gold", "--expires", "90d", "--json"], { url, apiKey });
    const { api_key: key, secret } = JSON.parse(made.stdout);
    expect(key).toMatchObject({ user: "ci", tier: "gold", roles: ["ROLE_READER", "ROLE_WRITER"] });
    expect(Date.parse(key.expire_time) - Date.parse(key.create_time)).toBe(90 * 86_400_000);

    const list = await ragents(["keys", "list"], { url, apiKey });
    expect(list.stdout).toMatch(new RegExp(`^KEY .*\\n${key.id} +until \\d{4}-\\d\\d-\\d\\d +reader,writer +ci +gold .*never\\n${apiKey.slice(0, 20)} +active +admin .*mine\\n$`));

    expect((await ragents(["keys", "revoke", key.id], { url, apiKey })).stdout).toBe(`${key.id} is revoked.\n`);
    expect((await ragents(["ask", "anything"], { url, apiKey: secret })).stderr).toMatch(/^The API key or token is not valid/);
    expect((await ragents(["keys", "list"], { url, apiKey })).stdout).toMatch(new RegExp(`${key.id} +revoked`));
  });

  test.each([
    [["keys", "create"], "required option '-r, --role <role>'"],
    [["keys", "create", "--role", "owner"], "give reader, writer or admin"],
    [["keys", "create", "--role", "reader", "--expires", "soon"], "give a number and m, h, d or y"],
  ])("says what is wrong with %j", async (args, says) => {
    const ended = await ragents(args, { url: mesh.url });
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain(says);
  });
});

describe("commands that make files", () => {
  const folder = mkdtempSync(join(tmpdir(), "ragents-files-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("identity-keys makes and rotates keys that only their owner can read", async () => {
    const [file, publicFile] = [join(folder, "keys.json"), join(folder, "public.json")];
    const kids = () => (JSON.parse(readFileSync(file, "utf8")) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid);
    expect((await ragents(["identity-keys", file])).code).toBe(0);
    const [first] = kids();
    const rotated = await ragents(["identity-keys", file, "--public", publicFile]);
    expect(rotated.stdout).toContain("RAGENTS_IDENTITY_KEYS");
    expect(kids()).toHaveLength(2);
    expect(kids()).toContain(first);
    expect(statSync(file).mode & 0o077).toBe(0);
    expect(readFileSync(publicFile, "utf8")).not.toContain('"d"');
  });

  test("identity-keys leaves a file alone that it does not understand", async () => {
    const ended = await ragents(["identity-keys", join(import.meta.dirname, "command.test.ts")]);
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/command\.test\.ts are not JSON/);
  });

  test("ca makes an authority once, and certificates for every service with it", async () => {
    const ca = join(folder, "tls");
    expect((await ragents(["ca", ca, "--name", "cache.mesh.svc"])).code).toBe(0);
    const authority = readFileSync(join(ca, "ca.pem"), "utf8");
    const again = await ragents(["ca", ca]);
    expect(again.stdout).toContain("RAGENTS_TLS_CERT=");
    expect(readFileSync(join(ca, "ca.pem"), "utf8")).toBe(authority);
    for (const name of ["gateway", "agent", "rag", "cache", "checkpoint", "ratelimit"]) {
      expect(readFileSync(join(ca, `${name}.pem`), "utf8")).toMatch(/^-----BEGIN CERTIFICATE-----/);
      expect(statSync(join(ca, `${name}-key.pem`)).mode & 0o077).toBe(0);
    }
  });
});
