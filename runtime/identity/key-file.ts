import { createPrivateKey, createPublicKey, generateKeyPairSync, type JsonWebKey, randomUUID } from "node:crypto";
import { z } from "zod";
import type { StoredKey } from "./identity-keys.js";
import { ConfigError } from "../config.js";

/** A JSON Web Key Set of Ed25519 keys; `nbf` is when a key may sign first, in seconds since the epoch. */
const keySetSchema = z.object({
  keys: z
    .array(
      z.object({
        kty: z.literal("OKP"),
        crv: z.literal("Ed25519"),
        kid: z.string().min(1),
        x: z.string().min(1),
        d: z.string().min(1).optional(),
        nbf: z.number().int().nonnegative(),
      }),
    )
    .min(1),
});

type KeySet = z.infer<typeof keySetSchema>;

/** Time from a rotation until the new key signs, in seconds: mounted files reach all processes well before. */
const SIGNS_AFTER_S = 300;
/** Keys that a rotation leaves in the file: the new one, the one that signs until then, and the one before. */
const KEPT_KEYS = 3;

/** The keys of a file's text. Throws ConfigError that names `path` and what is wrong, without the text. */
export function parseKeyFile(text: string, path: string): StoredKey[] {
  return parseKeySet(text, path).keys.map((jwk) => {
    try {
      const key: JsonWebKey = { kty: jwk.kty, crv: jwk.crv, x: jwk.x, ...(jwk.d !== undefined && { d: jwk.d }) };
      return {
        id: jwk.kid,
        publicKey: createPublicKey({ key: { kty: jwk.kty, crv: jwk.crv, x: jwk.x }, format: "jwk" }),
        privateKey: jwk.d === undefined ? undefined : createPrivateKey({ key, format: "jwk" }),
        notBefore: jwk.nbf * 1000,
      };
    } catch {
      throw new ConfigError(`The identity keys in ${path} are wrong: ${jwk.kid} is not an Ed25519 key.`);
    }
  });
}

/**
 * A key set with a new key that takes over in five minutes, or at once when `text` is undefined; the oldest keys are
 * left out. Give services that are called, but call none, the public half only.
 */
export function rotateKeyFile(text: string | undefined, path: string, now: number): { keys: string; publicKeys: string } {
  const old = text === undefined ? [] : parseKeySet(text, path).keys;
  const seconds = Math.floor(now / 1000);
  const { privateKey } = generateKeyPairSync("ed25519");
  const { x, d } = privateKey.export({ format: "jwk" });
  const made = { kty: "OKP", crv: "Ed25519", kid: randomUUID(), x: x!, d: d!, nbf: old.length === 0 ? seconds : seconds + SIGNS_AFTER_S } as const;
  const keys = [made, ...old].sort((a, b) => b.nbf - a.nbf).slice(0, KEPT_KEYS);
  const publicKeys = keys.map(({ d: _, ...publicHalf }) => publicHalf);
  return { keys: `${JSON.stringify({ keys }, null, 2)}\n`, publicKeys: `${JSON.stringify({ keys: publicKeys }, null, 2)}\n` };
}

function parseKeySet(text: string, path: string): KeySet {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new ConfigError(`The identity keys in ${path} are not JSON. \`ragents identity-keys\` makes a new file.`);
  }
  const result = keySetSchema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new ConfigError(`The identity keys in ${path} are wrong at ${issue?.path.join(".")}: ${issue?.message}.`);
}
