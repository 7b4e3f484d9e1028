import { timingSafeEqual } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { type Identity, LOCAL_IDENTITY, LOCAL_TENANT } from "../../runtime/call-context.js";
import { meshError } from "../../runtime/errors.js";
import { hashSecret, looksLikeApiKey } from "./api-key.js";
import type { ApiKeys } from "./api-keys.js";
import type { JsonWebTokens } from "./json-web-tokens.js";

/** Finds out who a client is by what it sends along: an API key or a token. */
export interface Authenticator {
  /** Whether clients must show who they are: an admin key or an issuer is configured, or there is an API key. */
  required(): boolean;
  /**
   * Who a client is, by its headers "authorization" and "x-api-key".
   * @throws UNAUTHENTICATED when it shows nothing or nothing valid, UNAVAILABLE when that cannot be checked now
   */
  identity(header: (name: string) => string | null | undefined): Identity | Promise<Identity>;
}

/** Whoever has the admin key may do everything in the local tenant, and make keys for every tenant. */
const OPERATOR: Identity = { tenant: LOCAL_TENANT, user: "operator", roles: [Role.ADMIN], operator: true };

/** While nothing is configured everyone is the local identity, whatever it sends: many clients cannot send nothing. */
export function createAuthenticator(options: { adminKey?: string | undefined; keys?: ApiKeys; tokens?: JsonWebTokens }): Authenticator {
  const { keys, tokens } = options;
  const adminHash = options.adminKey === undefined ? undefined : hashSecret(options.adminKey);
  const required = () => adminHash !== undefined || tokens !== undefined || keys?.none === false;

  function identify(secret: string): Identity | Promise<Identity> {
    if (adminHash !== undefined && timingSafeEqual(hashSecret(secret), adminHash)) return OPERATOR;
    if (looksLikeApiKey(secret) && keys !== undefined) {
      const identity = keys.identity(secret);
      return identity instanceof Promise ? identity.then(orInvalid, unavailable) : orInvalid(identity);
    }
    if (tokens !== undefined && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(secret)) return tokens.identity(secret);
    throw invalidCredentials();
  }

  return {
    required,
    identity(header) {
      if (!required()) return LOCAL_IDENTITY;
      const secret = secretOf(header("authorization"), header("x-api-key"));
      if (secret === undefined) throw missingCredentials();
      return identify(secret);
    },
  };
}

/** What a client sent; undefined when nothing. The empty header of a client without a key counts as nothing. */
function secretOf(authorization: string | null | undefined, apiKey: string | null | undefined): string | undefined {
  const bearer = authorization?.trim();
  if (bearer !== undefined && bearer !== "") {
    const [, secret] = /^bearer +(\S+)$/i.exec(bearer) ?? [];
    if (secret === undefined) throw invalidCredentials('The Authorization header must be "Bearer" and an API key or token.');
    return secret;
  }
  return apiKey?.trim() || undefined;
}

function orInvalid(identity: Identity | undefined): Identity {
  if (identity === undefined) throw invalidCredentials();
  return identity;
}

function unavailable(cause: unknown): never {
  const message = "The API key cannot be checked now; try again.";
  throw meshError(Code.Unavailable, ErrorReason.DEPENDENCY_UNAVAILABLE, message, { cause, retryAfterMs: 1_000 });
}

function missingCredentials() {
  const message = 'This mesh asks for an API key: send it as "Authorization: Bearer KEY" or "X-API-Key: KEY".';
  return meshError(Code.Unauthenticated, ErrorReason.CREDENTIALS_MISSING, message);
}

function invalidCredentials(message = "The API key or token is not valid: unknown, revoked or over.") {
  return meshError(Code.Unauthenticated, ErrorReason.CREDENTIALS_INVALID, message);
}
