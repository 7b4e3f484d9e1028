import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Code } from "@connectrpc/connect";
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { hasCode, reasonOf } from "../../runtime/errors.js";
import { failureOf } from "../../tests/failure-of.js";
import { ManualClock } from "../../tests/manual-clock.js";
import { JsonWebTokens, type JwtOptions } from "./json-web-tokens.js";

/** An issuer of tokens: what its JWKS address answers, and how often it was asked. */
interface Issuer {
  server: Server;
  url: URL;
  keys: JWK[];
  status: number;
  asked: number;
}

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>> & { kid: string; alg: string };

let issuer: Issuer;
let clock: ManualClock;
let first: KeyPair;

async function newKey(kid: string, alg = "ES256"): Promise<KeyPair> {
  const pair = { ...(await generateKeyPair(alg, { extractable: true })), kid, alg };
  issuer.keys.push({ ...(await exportJWK(pair.publicKey)), kid, alg, use: "sig" });
  return pair;
}

beforeEach(async () => {
  clock = new ManualClock();
  issuer = { server: createServer(), url: new URL("http://127.0.0.1"), keys: [], status: 200, asked: 0 };
  issuer.server.on("request", (_, response) => {
    issuer.asked += 1;
    response.writeHead(issuer.status).end(JSON.stringify({ keys: issuer.keys }));
  });
  issuer.server.listen(0, "127.0.0.1");
  await once(issuer.server, "listening");
  issuer.url = new URL(`http://127.0.0.1:${(issuer.server.address() as AddressInfo).port}/jwks`);
  first = await newKey("first");
});
afterEach(() => {
  issuer.server.close();
  issuer.server.closeAllConnections();
});

function tokens(options: Partial<JwtOptions> = {}): JsonWebTokens {
  return new JsonWebTokens({
    issuer: "https://id.example.com",
    audience: "ragents",
    jwksUrl: issuer.url,
    algorithms: ["ES256", "RS256", "EdDSA"],
    claims: { tenant: "tenant", roles: "roles", tier: "tier" },
    clock,
    ...options,
  });
}

const seconds = () => Math.floor(clock.now() / 1000);

/** Claims of a token that is accepted, changed by `claims`; undefined leaves one out. */
function sign(claims: JWTPayload = {}, key: KeyPair = first, header: Record<string, unknown> = {}): Promise<string> {
  const payload = { iss: "https://id.example.com", aud: "ragents", sub: "alice", exp: seconds() + 3_600, tenant: "acme", roles: ["writer"], ...claims };
  return new SignJWT(payload).setProtectedHeader({ alg: key.alg, kid: key.kid, ...header }).sign(key.privateKey);
}

const refusalOf = (checker: JsonWebTokens, token: string) => failureOf((async () => checker.identity(token))());

describe("a token", () => {
  test("gives tenant, user, roles and tier", async () => {
    const token = await sign({ tier: "gold", roles: ["reader", "writer", "uma_authorization"] });
    expect(await tokens().identity(token)).toEqual({ tenant: "acme", user: "alice", roles: [Role.READER, Role.WRITER], tier: "gold" });
  });

  test.each([
    { claims: { roles: "reader admin" }, roles: [Role.READER, Role.ADMIN] },
    { claims: { roles: undefined }, roles: [] },
    { claims: { roles: ["superuser", 7, null] }, roles: [] },
  ])("with the roles $claims.roles has $roles", async ({ claims, roles }) => {
    expect((await tokens().identity(await sign(claims as JWTPayload))).roles).toEqual(roles);
  });

  test("may have its claims at a path, or under names with dots", async () => {
    const claims = { tenant: "https://example.com/tenant", roles: "realm_access.roles", tier: "plan.name" };
    const token = await sign({ tenant: undefined, roles: undefined, "https://example.com/tenant": "acme", realm_access: { roles: ["admin"] }, plan: { name: "free" } });
    expect(await tokens({ claims }).identity(token)).toEqual({ tenant: "acme", user: "alice", roles: [Role.ADMIN], tier: "free" });
  });

  test.each(["RS256", "EdDSA"])("may be signed with %s", async (alg) => {
    const key = await newKey("other", alg);
    expect((await tokens().identity(await sign({}, key))).tenant).toBe("acme");
  });

  test.each([
    { claims: { iss: "https://evil.example.com" }, says: 'its claim "iss"' },
    { claims: { aud: "another" }, says: 'its claim "aud"' },
    { claims: { aud: undefined }, says: 'its claim "aud"' },
    { claims: { exp: undefined }, says: 'its claim "exp"' },
    { claims: { tenant: undefined }, says: 'its claim "tenant" must name a tenant' },
    { claims: { tenant: "" }, says: 'its claim "tenant" must name a tenant' },
    { claims: { tenant: "acme:globex" }, says: 'its claim "tenant" must name a tenant' },
    { claims: { tenant: ["acme"] }, says: 'its claim "tenant" must name a tenant' },
  ])("with $claims is refused", async ({ claims, says }) => {
    const error = await refusalOf(tokens(), await sign(claims as JWTPayload));
    expect([error.code, reasonOf(error)]).toEqual([Code.Unauthenticated, "CREDENTIALS_INVALID"]);
    expect(error.rawMessage).toContain(says);
  });

  test.each([
    { claim: "exp", offset: -59, ok: true },
    { claim: "exp", offset: -60, ok: false },
    { claim: "nbf", offset: 60, ok: true },
    { claim: "nbf", offset: 61, ok: false },
  ])("whose $claim is $offset s from now is accepted: $ok", async ({ claim, offset, ok }) => {
    const checked = Promise.resolve(tokens().identity(await sign({ [claim]: seconds() + offset })));
    expect(await checked.then(() => true, () => false)).toBe(ok);
  });

  test("that was accepted before is not after its end", async () => {
    const checker = tokens();
    const token = await sign({ exp: seconds() + 10 });
    await checker.identity(token);
    expect(checker.identity(token)).not.toBeInstanceOf(Promise);
    await clock.advance(70_000);
    expect((await refusalOf(checker, token)).rawMessage).toContain("it has expired");
  });
});

describe("a forged token", () => {
  test("signed by another's key under a known name is refused", async () => {
    const forger = { ...(await generateKeyPair("ES256")), kid: "first", alg: "ES256" };
    expect((await refusalOf(tokens(), await sign({}, forger))).rawMessage).toContain("its signature is not the issuer's");
  });

  test("with the algorithm none is refused", async () => {
    const [, payload] = (await sign()).split(".");
    const header = Buffer.from(JSON.stringify({ alg: "none", kid: "first" })).toString("base64url");
    expect(hasCode(await refusalOf(tokens(), `${header}.${payload}.AA`), Code.Unauthenticated)).toBe(true);
  });

  test("signed with the public key as an HMAC secret is refused", async () => {
    const rsa = await newKey("rsa", "RS256");
    const { n } = await exportJWK(rsa.publicKey);
    const token = await new SignJWT({ iss: "https://id.example.com", aud: "ragents", exp: seconds() + 60, tenant: "acme" })
      .setProtectedHeader({ alg: "HS256", kid: "rsa" })
      .sign(Buffer.from(n!, "base64url"));
    expect((await refusalOf(tokens(), token)).rawMessage).toContain("its algorithm is not accepted");
  });

  test("with an algorithm that is not pinned is refused, though the issuer has the key", async () => {
    const key = await newKey("strong", "ES384");
    expect((await refusalOf(tokens(), await sign({}, key))).rawMessage).toContain("its algorithm is not accepted");
  });

  test("that names another address for its keys does not make us go there", async () => {
    const elsewhere = { jku: `${issuer.url}?other`, jwk: await exportJWK(first.publicKey) };
    const forger = { ...(await generateKeyPair("ES256")), kid: "unknown", alg: "ES256" };
    await refusalOf(tokens(), await sign({}, forger, elsewhere));
    expect(issuer.asked).toBe(1);
  });

  test.each(["a.b.c", "e30.e30.", `${"a".repeat(5_000)}.b.c`])("%.20s is refused", async (token) => {
    expect(hasCode(await refusalOf(tokens(), token), Code.Unauthenticated)).toBe(true);
  });
});

describe("the issuer's keys", () => {
  test("are read once by all who need them at the same time, and kept for ten minutes", async () => {
    const checker = tokens();
    const some = await Promise.all(Array.from({ length: 20 }, (_, i) => sign({ sub: `user-${i}` })));
    await Promise.all(some.map((token) => checker.identity(token)));
    expect(issuer.asked).toBe(1);
    await clock.advance(599_999);
    await checker.identity(await sign());
    expect(issuer.asked).toBe(1);
    await clock.advance(1);
    await checker.identity(await sign({ sub: "bob" }));
    expect(issuer.asked).toBe(2);
  });

  test("rotate: a new key is found at once, unknown ones do not make us ask more than twice a minute", async () => {
    const checker = tokens();
    await checker.identity(await sign());
    await clock.advance(30_000);
    const second = await newKey("second");
    expect((await checker.identity(await sign({}, second))).tenant).toBe("acme");
    expect(issuer.asked).toBe(2);
    const unknown = { ...(await generateKeyPair("ES256")), kid: "unknown", alg: "ES256" };
    for (let i = 0; i < 5; i += 1) await refusalOf(checker, await sign({ sub: `${i}` }, unknown));
    expect(issuer.asked).toBe(2);
    await clock.advance(30_000);
    await refusalOf(checker, await sign({}, unknown));
    expect(issuer.asked).toBe(3);
  });

  test("that were withdrawn count for ten minutes at most", async () => {
    const checker = tokens();
    const token = await sign();
    await checker.identity(token);
    issuer.keys = [];
    await newKey("second");
    await clock.advance(600_000);
    expect((await refusalOf(checker, token)).rawMessage).toContain("its signature is not the issuer's");
  });

  test("stay in use for an hour while the issuer does not answer", async () => {
    const checker = tokens();
    await checker.identity(await sign());
    issuer.status = 503;
    await clock.advance(3_599_999);
    expect((await checker.identity(await sign())).tenant).toBe("acme");
    await clock.advance(30_001);
    const error = await refusalOf(checker, await sign());
    expect([error.code, reasonOf(error)]).toEqual([Code.Unavailable, "DEPENDENCY_UNAVAILABLE"]);
    expect(error.rawMessage).not.toContain("127.0.0.1");
  });

  test("must be there for the first token; without them the answer is to try again", async () => {
    issuer.status = 404;
    expect((await refusalOf(tokens(), await sign())).code).toBe(Code.Unavailable);
  });
});
