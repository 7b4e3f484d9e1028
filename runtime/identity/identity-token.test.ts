import { generateKeyPairSync, sign } from "node:crypto";
import { compactVerify } from "jose";
import { describe, expect, test } from "vitest";
import { Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { ManualClock } from "../../tests/manual-clock.js";
import type { Identity } from "../call-context.js";
import { reasonOf } from "../errors.js";
import { processKeys, storedKeys, type IdentityKeys } from "./identity-keys.js";
import { mintToken } from "./identity-token.js";
import { parseKeyFile, rotateKeyFile } from "./key-file.js";
import { TokenIssuer } from "./token-issuer.js";
import { TokenVerifier } from "./token-verifier.js";
import { localWarrants, signedWarrants, type Warrants } from "./warrants.js";

const CACHE = "ragents.cache.v1.CacheService";
const alice: Identity = { tenant: "acme", user: "alice", roles: [Role.READER, Role.WRITER], tier: "gold" };

function setUp(clock = new ManualClock(), keys: IdentityKeys = processKeys(clock)) {
  return {
    clock,
    keys,
    issuer: new TokenIssuer({ keys, clock, issuer: "gateway" }),
    verifier: new TokenVerifier({ keys, clock }),
  };
}

describe("a token", () => {
  test("brings the identity to the service that it is for", () => {
    const { issuer, verifier } = setUp();
    expect(verifier.identity(issuer.token(alice, CACHE), CACHE)).toEqual(alice);
  });

  test("names the service that calls on someone's behalf", () => {
    const { keys, clock, verifier } = setUp();
    const agent = new TokenIssuer({ keys, clock, issuer: "agent" });
    expect(verifier.identity(agent.token(alice, CACHE), CACHE)).toEqual({ ...alice, service: "agent" });
  });

  test("does not take the calling service's name along to the next service", () => {
    const { keys, clock, verifier } = setUp();
    const rag = new TokenIssuer({ keys, clock, issuer: "rag" });
    expect(verifier.identity(rag.token({ ...alice, service: "agent" }, CACHE), CACHE).service).toBe("rag");
  });

  test("carries the operator's right, and gives nobody else one", () => {
    const { issuer, verifier } = setUp();
    expect(verifier.identity(issuer.token({ tenant: "local", operator: true }, CACHE), CACHE).operator).toBe(true);
    expect(verifier.identity(issuer.token({ tenant: "local" }, CACHE), CACHE)).toEqual({ tenant: "local" });
  });

  test("is a standard compact JWS", async () => {
    const { issuer, keys } = setUp();
    const { payload, protectedHeader } = await compactVerify(issuer.token(alice, CACHE), ({ kid }) => keys.publicKey(kid!)!);
    expect(protectedHeader.alg).toBe("EdDSA");
    expect(JSON.parse(new TextDecoder().decode(payload))).toMatchObject({ iss: "gateway", aud: CACHE, tenant: "acme", roles: ["reader", "writer"] });
  });

  test("is sent again for half a minute, and valid for a minute", async () => {
    const { issuer, verifier, clock } = setUp();
    const token = issuer.token(alice, CACHE);
    await clock.advance(29_999);
    expect(issuer.token({ ...alice }, CACHE)).toBe(token);
    await clock.advance(1);
    expect(issuer.token(alice, CACHE)).not.toBe(token);
    await clock.advance(30_000 + 4_999);
    expect(verifier.identity(token, CACHE).tenant).toBe("acme");
    await clock.advance(1);
    expect(() => verifier.identity(token, CACHE)).toThrow("has ended");
  });

  test.each([
    { what: "the tenant", other: { ...alice, tenant: "acme2" } },
    { what: "the user", other: { ...alice, user: undefined } },
    { what: "the roles", other: { ...alice, roles: [Role.ADMIN] } },
    { what: "the tier", other: { ...alice, tier: "free" } },
    { what: "the operator's right", other: { ...alice, operator: true } },
  ])("is another one when $what differs", ({ other }) => {
    const { issuer, verifier } = setUp();
    issuer.token(alice, CACHE);
    expect(verifier.identity(issuer.token(other, CACHE), CACHE)).toEqual(other);
  });
});

describe("a verifier refuses", () => {
  const refused = (token: string, verifier: TokenVerifier, audience = CACHE) => {
    try {
      verifier.identity(token, audience);
    } catch (error) {
      return reasonOf(error);
    }
    return "accepted";
  };

  test("a token for another service, also when it was accepted there", () => {
    const { issuer, verifier } = setUp();
    const token = issuer.token(alice, CACHE);
    expect(verifier.identity(token, CACHE)).toEqual(alice);
    expect(refused(token, verifier, "ragents.rag.v1.RagService")).toBe("CREDENTIALS_INVALID");
  });

  test("a token of another mesh", () => {
    expect(refused(setUp().issuer.token(alice, CACHE), setUp().verifier)).toBe("CREDENTIALS_INVALID");
  });

  test("a token that was changed", () => {
    const { issuer, verifier } = setUp();
    const [header, payload, signature] = issuer.token(alice, CACHE).split(".") as [string, string, string];
    const forged = JSON.parse(Buffer.from(payload, "base64url").toString());
    const other = Buffer.from(JSON.stringify({ ...forged, tenant: "globex" })).toString("base64url");
    expect(refused(`${header}.${other}.${signature}`, verifier)).toBe("CREDENTIALS_INVALID");
    expect(refused(`${header}.${payload}.`, verifier)).toBe("CREDENTIALS_INVALID");
  });

  test.each(["none", "HS256", "ES256"])("a header that asks for the algorithm %s, whatever the signature", (alg) => {
    const { keys, verifier, clock } = setUp();
    const key = keys.signingKey()!;
    const payload = mintToken(key, { identity: alice, issuer: "gateway", audience: CACHE }, clock.now()).split(".")[1]!;
    const signed = `${Buffer.from(JSON.stringify({ alg, kid: key.id })).toString("base64url")}.${payload}`;
    expect(refused(`${signed}.${sign(null, Buffer.from(signed), key.key).toString("base64url")}`, verifier)).toBe("CREDENTIALS_INVALID");
  });

  test("a token of the future", () => {
    const ahead = setUp(new ManualClock(Date.UTC(2026, 0, 1, 0, 0, 10)));
    expect(refused(ahead.issuer.token(alice, CACHE), setUp(new ManualClock(), ahead.keys).verifier)).toBe("CREDENTIALS_INVALID");
  });

  test.each(["", "a", "a.b.c", "..", "eyJhbGciOiJFZERTQSJ9.e30.AA", "a.b.c.d"])("what is no token: %j", (token) => {
    expect(refused(token, setUp().verifier)).toBe("CREDENTIALS_INVALID");
  });
});

describe("a file of keys", () => {
  const clock = new ManualClock();
  const read = (text: string) => parseKeyFile(text, "keys.json");

  test("lets holders of its public half check, but not sign", () => {
    const made = rotateKeyFile(undefined, "keys.json", clock.now());
    const verifying = storedKeys(() => read(made.publicKeys), clock);
    const { issuer } = setUp(clock, storedKeys(() => read(made.keys), clock));
    expect(new TokenVerifier({ keys: verifying, clock }).identity(issuer.token(alice, CACHE), CACHE)).toEqual(alice);
    expect(made.publicKeys).not.toContain('"d"');
    expect(() => new TokenIssuer({ keys: verifying, clock, issuer: "cache" }).token(alice, CACHE)).toThrow("RAGENTS_IDENTITY_KEYS holds public keys only");
  });

  test("rotates without a gap: the new key is known everywhere before it signs", async () => {
    const clock = new ManualClock();
    const before = rotateKeyFile(undefined, "keys.json", clock.now()).keys;
    const after = rotateKeyFile(before, "keys.json", clock.now()).keys;
    const old = storedKeys(() => read(before), clock);
    const rotated = storedKeys(() => read(after), clock);
    expect(rotated.signingKey()!.id).toBe(old.signingKey()!.id);
    await clock.advance(300_000);
    expect(rotated.signingKey()!.id).not.toBe(old.signingKey()!.id);
    expect(rotated.publicKey(old.signingKey()!.id)).toBeDefined();
  });

  test("forgets a key at the third rotation after it", () => {
    let text = rotateKeyFile(undefined, "keys.json", clock.now()).keys;
    const first = read(text)[0]!.id;
    const known = () => read(text).some(({ id }) => id === first);
    const history = [1, 2, 3].map((n) => {
      text = rotateKeyFile(text, "keys.json", clock.now() + n * 600_000).keys;
      return known();
    });
    expect(history).toEqual([true, true, false]);
  });

  test.each([
    ["{", /keys\.json are not JSON/],
    ["{}", /wrong at keys/],
    ['{"keys":[]}', /wrong at keys/],
    ['{"keys":[{"kty":"RSA"}]}', /wrong at keys\.0\.kty/],
    ['{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AA","nbf":0}]}', /a is not an Ed25519 key/],
  ])("says what is wrong with %s", (text, message) => {
    expect(() => read(text)).toThrow(message);
  });

  test("never shows a private key in an error", () => {
    const { privateKey } = generateKeyPairSync("ed25519");
    const { d } = privateKey.export({ format: "jwk" });
    const text = JSON.stringify({ keys: [{ kty: "OKP", crv: "Ed25519", kid: "a", d, nbf: 0 }] });
    expect(() => read(text)).toThrow(expect.not.objectContaining({ message: expect.stringContaining(d!) }));
  });
});

describe("a warrant", () => {
  const work = ["thread", "run", "When does the pump stop?"];

  test("says for a day on whose behalf that work is done, on every service with the keys, and for no other work", async () => {
    const { clock, keys, verifier } = setUp();
    const [agent, other] = ["agent", "agent"].map((issuer) => signedWarrants({ keys, issuer, clock })) as [Warrants, Warrants];
    const warrant = agent.issue(alice, work);
    expect(other.read(warrant, work)).toEqual({ ...alice, service: "agent" });
    expect(other.read(warrant, ["thread", "run", "What is the secret?"])).toBeUndefined();
    expect(() => verifier.identity(warrant, CACHE)).toThrow();
    await clock.advance(25 * 3_600_000);
    expect(other.read(warrant, work)).toBeUndefined();
  });

  test("cannot be made up, nor be that of a mesh without keys", () => {
    const { clock, keys } = setUp();
    const { read } = signedWarrants({ keys, issuer: "agent", clock });
    const strange = signedWarrants({ keys: processKeys(clock), issuer: "agent", clock }).issue(alice, work);
    for (const warrant of ["", localWarrants.issue(alice, work), strange]) expect(read(warrant, work)).toBeUndefined();
    expect(localWarrants.read("", work)).toBeUndefined();
  });
});
