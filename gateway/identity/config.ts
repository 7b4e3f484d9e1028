import { z } from "zod";
import { commaList, ConfigError, parseEnv } from "../../runtime/config.js";
import { storePatienceSchema } from "../../runtime/store-patience.js";
import type { JwtOptions } from "./json-web-tokens.js";

/** Signature algorithms with public keys: an issuer's published key must never pass for a shared secret. */
const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

const schema = z.object({
  ...storePatienceSchema.shape,
  RAGENTS_DATA_DIR: z.string().default(".ragents"),
  RAGENTS_GATEWAY_URL: z
    .string()
    .regex(/^(pglite:|postgres(ql)?:\/\/.+)/, "give postgres://USER:PASSWORD@HOST:PORT/DATABASE or pglite:FOLDER")
    .optional(),
  RAGENTS_ADMIN_KEY: z
    .string()
    .min(32, "give at least 32 characters that nobody can guess, for example what `openssl rand -hex 32` prints")
    .regex(/^[\x21-\x7e]+$/, "give visible ASCII characters without blanks")
    .optional(),
  RAGENTS_JWT_ISSUER: z.string().optional(),
  RAGENTS_JWT_AUDIENCE: z.string().optional(),
  RAGENTS_JWT_JWKS_URL: z
    .url({ protocol: /^https?$/, message: "give the issuer's JWKS address, https://..." })
    .refine(isConfidential, "give an https address: keys that come in the clear can be anyone's")
    .optional(),
  RAGENTS_JWT_ALGORITHMS: commaList(["RS256", "ES256", "EdDSA"]).refine(
    (names) => names.length > 0 && names.every((name) => ALGORITHMS.includes(name)),
    `give some of ${ALGORITHMS.join(", ")}`,
  ),
  RAGENTS_JWT_TENANT_CLAIM: z.string().default("tenant"),
  RAGENTS_JWT_ROLES_CLAIM: z.string().default("roles"),
  RAGENTS_JWT_TIER_CLAIM: z.string().default("tier"),
});

/** How clients show who they are. */
export interface IdentityConfig {
  readonly dataDir: string;
  /** Where API keys are kept; undefined: in the database that the process shares, or nowhere. */
  readonly url: string | undefined;
  /** How long a start waits for a store that does not answer yet, in milliseconds. */
  readonly storeWaitMs: number;
  readonly adminKey: string | undefined;
  readonly jwt: Omit<JwtOptions, "clock"> | undefined;
}

/** Reads the environment. Throws ConfigError naming everything that is wrong. */
export function loadIdentityConfig(env: NodeJS.ProcessEnv): IdentityConfig {
  const values = parseEnv(env, schema);
  const { RAGENTS_JWT_ISSUER: issuer, RAGENTS_JWT_AUDIENCE: audience, RAGENTS_JWT_JWKS_URL: jwksUrl } = values;
  const given = [issuer, audience, jwksUrl].filter((value) => value !== undefined).length;
  if (given === 1 || given === 2) {
    throw new ConfigError("Give all three of RAGENTS_JWT_ISSUER, RAGENTS_JWT_AUDIENCE and RAGENTS_JWT_JWKS_URL, or none.");
  }
  const claims = { tenant: values.RAGENTS_JWT_TENANT_CLAIM, roles: values.RAGENTS_JWT_ROLES_CLAIM, tier: values.RAGENTS_JWT_TIER_CLAIM };
  return {
    dataDir: values.RAGENTS_DATA_DIR,
    url: values.RAGENTS_GATEWAY_URL,
    storeWaitMs: values.RAGENTS_STORE_WAIT_S * 1000,
    adminKey: values.RAGENTS_ADMIN_KEY,
    jwt: issuer && audience && jwksUrl ? { issuer, audience, jwksUrl: new URL(jwksUrl), algorithms: values.RAGENTS_JWT_ALGORITHMS, claims } : undefined,
  };
}

function isConfidential(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === "https:" || ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
}
