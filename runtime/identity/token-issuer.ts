import { LRUCache } from "lru-cache";
import type { Identity } from "../call-context.js";
import type { Clock } from "../clock.js";
import { ConfigError } from "../config.js";
import type { IdentityKeys } from "./identity-keys.js";
import { mintToken, TOKEN_LIFETIME_MS } from "./identity-token.js";

/** Tokens kept to be sent again: signing costs about 50 us, looking up 1. */
const CACHED_TOKENS = 10_000;
/** A token is sent for half of its life, so that it does not end on its way. */
const REUSED_MS = TOKEN_LIFETIME_MS / 2;

/** Vouches for identities, as one service of the mesh. */
export class TokenIssuer {
  readonly #keys: IdentityKeys;
  readonly #issuer: string;
  readonly #clock: Clock;
  readonly #minted = new LRUCache<string, { token: string; minted: number }>({ max: CACHED_TOKENS });

  /** @param issuer the service's short name, e.g. "agent" */
  constructor(options: { keys: IdentityKeys; issuer: string; clock: Clock }) {
    this.#keys = options.keys;
    this.#issuer = options.issuer;
    this.#clock = options.clock;
  }

  /** A token for calls to `audience`, a service's full name. Throws when this process has no key to sign with. */
  token(identity: Identity, audience: string): string {
    const { tenant, user, roles, tier, operator } = identity;
    const now = this.#clock.now();
    const name = JSON.stringify([audience, tenant, user, roles, tier, operator]);
    const known = this.#minted.get(name);
    // Either way: a clock that was set back makes tokens of the future, which nobody accepts.
    if (known !== undefined && Math.abs(now - known.minted) < REUSED_MS) return known.token;
    const key = this.#keys.signingKey();
    if (key === undefined) {
      throw new ConfigError("The file of RAGENTS_IDENTITY_KEYS holds public keys only, but this service calls others: give it the private ones.");
    }
    const token = mintToken(key, { identity, issuer: this.#issuer, audience }, now);
    this.#minted.set(name, { token, minted: now });
    return token;
  }
}
