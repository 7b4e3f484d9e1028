import { hash, randomInt } from "node:crypto";

/** A key as it is made: its holder gets the secret, the store its hash. */
export interface NewApiKey {
  /** Names the key, e.g. "ragents_k4Zt0nQ2pXw9". No secret. */
  readonly id: string;
  /** What the holder sends: the id, "_", and 256 random bits. */
  readonly secret: string;
  readonly hash: Buffer;
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const ID_LENGTH = 12;
/** 43 letters of 62 hold 256 bits. */
const SECRET_LENGTH = 43;
const KEY = new RegExp(`^(ragents_[A-Za-z0-9]{${ID_LENGTH}})_[A-Za-z0-9]{${SECRET_LENGTH}}$`);

/** Makes a key. */
export function newApiKey(): NewApiKey {
  const id = `ragents_${randomText(ID_LENGTH)}`;
  const secret = `${id}_${randomText(SECRET_LENGTH)}`;
  return { id, secret, hash: hashSecret(secret) };
}

/** The id in a key's secret; undefined when the text is none. */
export function keyIdOf(secret: string): string | undefined {
  return KEY.exec(secret)?.[1];
}

/** Whether a text means to be an API key of ours, right or wrong. */
export function looksLikeApiKey(text: string): boolean {
  return text.startsWith("ragents_");
}

/** SHA-256: nothing slower is needed where 256 random bits cannot be guessed (docs/adr/0050-api-keys.md). */
export function hashSecret(secret: string): Buffer {
  return hash("sha256", secret, "buffer");
}

function randomText(length: number): string {
  return Array.from({ length }, () => ALPHABET[randomInt(ALPHABET.length)]).join("");
}
