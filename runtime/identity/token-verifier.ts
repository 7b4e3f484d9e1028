import { Code, type ConnectError } from "@connectrpc/connect";
import { LRUCache } from "lru-cache";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import type { Identity } from "../call-context.js";
import type { Clock } from "../clock.js";
import { meshError } from "../errors.js";
import type { IdentityKeys } from "./identity-keys.js";
import { readToken, type VerifiedToken } from "./identity-token.js";

/** Tokens kept that were found valid: checking a signature costs a hundred times more than finding it here. */
const CACHED_TOKENS = 10_000;

/** Checks the identities that calls bring. */
export class TokenVerifier {
  readonly #keys: IdentityKeys;
  readonly #clock: Clock;
  readonly #verified = new LRUCache<string, VerifiedToken>({ max: CACHED_TOKENS });

  constructor(options: { keys: IdentityKeys; clock: Clock }) {
    this.#keys = options.keys;
    this.#clock = options.clock;
  }

  /**
   * Who a token says calls `audience`, a service's full name.
   * @throws UNAUTHENTICATED when it is forged, over, or for another service
   */
  identity(token: string, audience: string): Identity {
    const now = this.#clock.now();
    let verified = this.#verified.get(token);
    if (verified === undefined) {
      verified = readToken(token, this.#keys, now);
      if (verified === undefined) throw invalidIdentity();
      this.#verified.set(token, verified);
    }
    if (verified.audience !== audience || verified.expires <= now) throw invalidIdentity();
    return verified.identity;
  }
}

function invalidIdentity(): ConnectError {
  return meshError(
    Code.Unauthenticated,
    ErrorReason.CREDENTIALS_INVALID,
    "The call's identity is not valid for this service: it was not signed by this mesh, has ended, or is for another service.",
  );
}
