import { sign, verify } from "node:crypto";
import { z } from "zod";
import { type Role } from "../../gen/ragents/auth/v1/access_pb.js";
import type { Identity } from "../call-context.js";
import { roleName, roleNamed } from "./access.js";
import type { IdentityKeys, SigningKey } from "./identity-keys.js";

/** The metadata key that carries the identity between services. What clients send under it is dropped at the gateway. */
export const IDENTITY_HEADER = "x-ragents-identity";

/** Who mints for callers from outside of the mesh; every other issuer is a service that calls on someone's behalf. */
export const EDGE_ISSUER = "gateway";

/** How long a token is valid, in milliseconds. */
export const TOKEN_LIFETIME_MS = 60_000;

/** Between two machines' clocks, in milliseconds. */
const SKEW_MS = 5_000;

const headerSchema = z.object({ alg: z.literal("EdDSA"), kid: z.string() });
const claimsSchema = z.object({
  iss: z.string().min(1),
  aud: z.string(),
  iat: z.number(),
  exp: z.number(),
  tenant: z.string().min(1),
  sub: z.string().optional(),
  roles: z.array(z.string()).optional(),
  tier: z.string().optional(),
  operator: z.boolean().optional(),
});

/** What a token says. */
export interface VerifiedToken {
  readonly identity: Identity;
  /** The full name of the service that it is for. */
  readonly audience: string;
  /** When it ends, in milliseconds since the epoch. */
  readonly expires: number;
}

/**
 * A compact JWS (EdDSA) that tells `audience`, a service's full name, on whose behalf `issuer` calls.
 * @param now milliseconds since the epoch
 * @param lifetimeMs how long it holds from then
 */
export function mintToken(
  key: SigningKey,
  claims: { identity: Identity; issuer: string; audience: string },
  now: number,
  lifetimeMs = TOKEN_LIFETIME_MS,
): string {
  const { tenant, user, roles, tier, operator } = claims.identity;
  const payload = {
    iss: claims.issuer,
    aud: claims.audience,
    iat: Math.floor(now / 1000),
    exp: Math.floor((now + lifetimeMs) / 1000),
    tenant,
    sub: user,
    roles: roles?.map(roleName),
    tier,
    operator,
  };
  const signed = `${encode({ alg: "EdDSA", kid: key.id })}.${encode(payload)}`;
  return `${signed}.${sign(null, Buffer.from(signed), key.key).toString("base64url")}`;
}

/** What a token says when it is signed by a known key and valid at `now`; undefined else. Whom it is for is the caller's to check. */
export function readToken(token: string, keys: IdentityKeys, now: number): VerifiedToken | undefined {
  const parts = token.split(".");
  if (parts.length !== 3) return undefined;
  const [header, payload, signature] = parts as [string, string, string];
  const key = keys.publicKey(headerSchema.safeParse(decode(header)).data?.kid ?? "");
  if (key === undefined) return undefined;
  if (!verify(null, Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, "base64url"))) return undefined;
  const claims = claimsSchema.safeParse(decode(payload)).data;
  if (claims === undefined || claims.iat * 1000 > now + SKEW_MS) return undefined;
  const expires = claims.exp * 1000 + SKEW_MS;
  return expires <= now ? undefined : { identity: toIdentity(claims), audience: claims.aud, expires };
}

function toIdentity(claims: z.infer<typeof claimsSchema>): Identity {
  return {
    tenant: claims.tenant,
    user: claims.sub,
    roles: claims.roles?.map(roleNamed).filter((role): role is Role => role !== undefined),
    tier: claims.tier,
    operator: claims.operator,
    service: claims.iss === EDGE_ISSUER ? undefined : claims.iss,
  };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function decode(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, "base64url").toString());
  } catch {
    return undefined;
  }
}
