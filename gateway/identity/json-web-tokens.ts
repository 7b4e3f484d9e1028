import { hash } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { errors, type JWTPayload, jwtVerify } from "jose";
import { LRUCache } from "lru-cache";
import type { Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import type { Identity } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { meshError } from "../../runtime/errors.js";
import { roleNamed } from "../../runtime/identity/access.js";
import { IssuerKeys } from "./issuer-keys.js";

export interface JwtOptions {
  /** The `iss` of accepted tokens. */
  readonly issuer: string;
  /** One of the `aud` of accepted tokens. */
  readonly audience: string;
  /** Where the issuer's public keys are. */
  readonly jwksUrl: URL;
  /** The signature algorithms that are accepted; what a token's header asks for does not count. */
  readonly algorithms: readonly string[];
  /** Names of the claims, or paths into objects such as "realm_access.roles". */
  readonly claims: { readonly tenant: string; readonly roles: string; readonly tier: string };
  readonly clock: Clock;
}

/** Between the issuer's clock and ours, in seconds. */
const SKEW_S = 60;
/** A token is checked again after this time at the latest. */
const BELIEVED_MS = 60_000;
const CACHED_TOKENS = 10_000;

const TENANT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const TIER = /^[A-Za-z0-9._-]{1,64}$/;
const CONTROL = /[\u0000-\u001f\u007f]/;

/** Checks JSON Web Tokens of one issuer by its published keys. */
export class JsonWebTokens {
  readonly #options: JwtOptions;
  readonly #keys: IssuerKeys;
  readonly #verified = new LRUCache<string, { identity: Identity; until: number }>({ max: CACHED_TOKENS });

  constructor(options: JwtOptions) {
    this.#options = options;
    this.#keys = new IssuerKeys({ url: options.jwksUrl, clock: options.clock });
  }

  /**
   * Who a token's bearer is.
   * @throws UNAUTHENTICATED when the token is not valid or names no tenant, UNAVAILABLE when the issuer's keys cannot be read
   */
  identity(token: string): Identity | Promise<Identity> {
    const name = hash("sha256", token, "base64");
    const known = this.#verified.get(name);
    if (known !== undefined && this.#options.clock.now() < known.until) return known.identity;
    return this.#verify(token, name);
  }

  async #verify(token: string, name: string): Promise<Identity> {
    const { issuer, audience, algorithms, clock } = this.#options;
    const now = clock.now();
    let payload: JWTPayload;
    try {
      ({ payload } = await jwtVerify(token, this.#keys.find, {
        issuer,
        audience,
        algorithms: [...algorithms],
        clockTolerance: SKEW_S,
        currentDate: new Date(now),
        requiredClaims: ["exp"],
      }));
    } catch (error) {
      throw refusal(error);
    }
    const identity = this.#toIdentity(payload);
    this.#verified.set(name, { identity, until: Math.min(now + BELIEVED_MS, (payload.exp! + SKEW_S) * 1000) });
    return identity;
  }

  #toIdentity(payload: JWTPayload): Identity {
    const { claims } = this.#options;
    const tenant = claimOf(payload, claims.tenant);
    if (typeof tenant !== "string" || !TENANT.test(tenant)) {
      throw invalidToken(`its claim "${claims.tenant}" must name a tenant: 1 to 64 letters, digits, ".", "_" and "-"`);
    }
    const named = claimOf(payload, claims.roles);
    const roles = (Array.isArray(named) ? named : String(named ?? "").split(/[\s,]+/)).map(roleNamed);
    const tier = claimOf(payload, claims.tier);
    const { sub } = payload;
    return {
      tenant,
      roles: roles.filter((role): role is Role => role !== undefined),
      ...(sub !== undefined && sub !== "" && sub.length <= 128 && !CONTROL.test(sub) && { user: sub }),
      ...(typeof tier === "string" && TIER.test(tier) && { tier }),
    };
  }
}

/** A claim of exactly that name, else the value at that path. */
function claimOf(payload: JWTPayload, name: string): unknown {
  if (Object.hasOwn(payload, name)) return payload[name];
  let value: unknown = payload;
  for (const part of name.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

function refusal(error: unknown) {
  if (error instanceof errors.JWTExpired) return invalidToken("it has expired");
  if (error instanceof errors.JWTClaimValidationFailed) return invalidToken(`its claim "${error.claim}" is not what is expected`);
  if (error instanceof errors.JOSEAlgNotAllowed) return invalidToken("its algorithm is not accepted");
  const atFault = [errors.JWTInvalid, errors.JWSInvalid, errors.JWSSignatureVerificationFailed, errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys];
  if (atFault.some((type) => error instanceof type) || error instanceof errors.JOSENotSupported) return invalidToken("its signature is not the issuer's");
  const message = "The token cannot be checked now: its issuer's keys cannot be read; try again.";
  return meshError(Code.Unavailable, ErrorReason.DEPENDENCY_UNAVAILABLE, message, { cause: error, retryAfterMs: 1_000 });
}

function invalidToken(why: string) {
  return meshError(Code.Unauthenticated, ErrorReason.CREDENTIALS_INVALID, `The token is not valid: ${why}.`);
}
