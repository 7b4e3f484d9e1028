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

/** A key for a mesh in one process, whose threads may be handed it: it never leaves the process's memory, and ends with it. */
export function createProcessKey(): StoredKey {
  return { id: randomUUID(), ...generateKeyPairSync("ed25519"), notBefore: 0 };
}

/** The keys of a mesh in one process: nobody else has them. */
export function processKeys(clock: Clock, key: StoredKey = createProcessKey()): IdentityKeys {
  return storedKeys(() => [key], clock);
}

/** The keys of a file that several processes share, as it is now. */
export function storedKeys(current: () => readonly StoredKey[], clock: Clock): IdentityKeys {
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

/** A key as a file or a process holds it. */
export interface StoredKey {
  readonly id: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject | undefined;
  /** When it may sign first, in milliseconds since the epoch. */
  readonly notBefore: number;
}

const newestOf = (keys: StoredKey[]) => keys.toSorted((a, b) => b.notBefore - a.notBefore)[0];
const oldestOf = (keys: StoredKey[]) => keys.toSorted((a, b) => a.notBefore - b.notBefore)[0];
