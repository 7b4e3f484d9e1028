import { createHash } from "node:crypto";
import { type Identity, LOCAL_IDENTITY } from "../call-context.js";
import type { Clock } from "../clock.js";
import type { IdentityKeys } from "./identity-keys.js";
import { mintToken, readToken } from "./identity-token.js";

/**
 * Says on whose behalf a piece of work is done, for another replica to go on with it when this one is gone. What is written down so can
 * be stored where its tenant could change it: it cannot be made up, and holds for that work alone.
 */
export interface Warrants {
  /** @param work what is done, so that the warrant is of no use for anything else */
  issue(identity: Identity, work: readonly string[]): string;
  /** On whose behalf; undefined when the warrant is not of this mesh, for other work, or older than a day. */
  read(warrant: string, work: readonly string[]): Identity | undefined;
}

const LIFETIME_MS = 24 * 3_600_000;
const LOCAL = "local";

/** Where services trust whoever reaches them, everybody is the local tenant. */
export const localWarrants: Warrants = {
  issue: () => LOCAL,
  read: (warrant) => (warrant === LOCAL ? LOCAL_IDENTITY : undefined),
};

/** Warrants that are signed by the mesh's keys. */
export function signedWarrants({ keys, issuer, clock }: { keys: IdentityKeys; issuer: string; clock: Clock }): Warrants {
  return {
    issue(identity, work) {
      const key = keys.signingKey();
      return key === undefined ? "" : mintToken(key, { identity, issuer, audience: audienceOf(work) }, clock.now(), LIFETIME_MS);
    },
    read(warrant, work) {
      const token = readToken(warrant, keys, clock.now());
      return token?.audience === audienceOf(work) ? token.identity : undefined;
    },
  };
}

/** No service's name: a warrant is no identity to call with. */
function audienceOf(work: readonly string[]): string {
  return `warrant:${createHash("sha256").update(JSON.stringify(work)).digest("base64url")}`;
}
