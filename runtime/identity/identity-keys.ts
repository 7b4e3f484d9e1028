import { generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import type { Clock } from "../clock.js";

/** A private key and the name by which verifiers find its public half. */
export interface SigningKey {
  readonly id: string;
  readonly key: KeyObject;
}

/** The Ed25519 keys by which services of the mesh know each other's word. */
export interface IdentityKeys {
  /** The key to sign with now; undefined for a process that holds public keys only. */
  signingKey(): SigningKey | undefined;
  /** The public key of that name; undefined when it is not known, or not any more. */
  publicKey(id: string): KeyObject | undefined;
}

/** How long keys of one process sign, in milliseconds. Their tokens live a minute. */
const ROTATE_EVERY_MS = 3_600_000;

/** Keys for a mesh in one process: they never leave its memory, and a new one takes over every hour. */
export function createProcessKeys(clock: Clock): IdentityKeys {
  let current: (SigningKey & { publicKey: KeyObject; since: number }) | undefined;
  let previous: typeof current;
  function newest() {
    if (current === undefined || clock.monotonic() - current.since >= ROTATE_EVERY_MS) {
      const { privateKey, publicKey } = generateKeyPairSync("ed25519");
      previous = current;
      current = { id: randomUUID(), key: privateKey, publicKey, since: clock.monotonic() };
    }
    return current;
  }
  return {
    signingKey: newest,
    publicKey: (id) => [current, previous].find((one) => one?.id === id)?.publicKey,
  };
}

/** Keys of a file that several processes share. */
export function fileKeys(current: () => readonly StoredKey[], clock: Clock): IdentityKeys {
  return {
    signingKey() {
      const signing = current().filter(({ privateKey }) => privateKey !== undefined);
      // A new key signs only when every verifier has had the time to read it; a file's first one signs at once.
      const ready = signing.filter(({ notBefore }) => notBefore <= clock.now());
      const chosen = newestOf(ready) ?? oldestOf(signing);
      return chosen && { id: chosen.id, key: chosen.privateKey! };
    },
    publicKey: (id) => current().find((key) => key.id === id)?.publicKey,
  };
}

/** A key as a file holds it. */
export interface StoredKey {
  readonly id: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject | undefined;
  /** When it may sign first, in milliseconds since the epoch. */
  readonly notBefore: number;
}

const newestOf = (keys: StoredKey[]) => keys.toSorted((a, b) => b.notBefore - a.notBefore)[0];
const oldestOf = (keys: StoredKey[]) => keys.toSorted((a, b) => a.notBefore - b.notBefore)[0];
