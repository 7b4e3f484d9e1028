import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from "jose";
import type { Clock } from "../../runtime/clock.js";

/** The keys are read again after this time, in milliseconds: so long does a key that its issuer withdrew still count. */
const BELIEVED_MS = 600_000;
/** A token that names a key we don't have makes us read them before, but not for every such token. */
const ASK_AGAIN_AFTER_MS = 30_000;
/** While the issuer does not answer, the keys that it published last stay in use for so long. */
const STALE_MS = 3_600_000;
const TIMEOUT_MS = 5_000;
const MAX_BYTES = 1024 * 1024;

type FindKey = ReturnType<typeof createLocalJWKSet>;

/** The public keys of an issuer, read from its JWKS address when they are needed. */
export class IssuerKeys {
  readonly #url: URL;
  readonly #clock: Clock;
  #keys: { find: FindKey; read: number } | undefined;
  #asked = Number.NEGATIVE_INFINITY;
  #asking: Promise<FindKey> | undefined;

  constructor(options: { url: URL; clock: Clock }) {
    this.#url = options.url;
    this.#clock = options.clock;
  }

  /** The key that a token was signed with. Rejects with JWKSNoMatchingKey when the issuer has none like it, else when it cannot be asked. */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    const find = await this.#current();
    try {
      return await find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || this.#age(this.#asked) < ASK_AGAIN_AFTER_MS) throw error;
      return (await this.#ask())(header, token);
    }
  };

  async #current(): Promise<FindKey> {
    const keys = this.#keys;
    if (keys === undefined) return this.#ask();
    if (this.#age(keys.read) < BELIEVED_MS || this.#age(this.#asked) < ASK_AGAIN_AFTER_MS) return keys.find;
    return this.#ask().catch((error: unknown) => {
      if (this.#age(keys.read) < STALE_MS) return keys.find;
      throw error;
    });
  }

  /** Asks the issuer, once for all who need it at the same time. */
  #ask(): Promise<FindKey> {
    this.#asked = this.#clock.monotonic();
    this.#asking ??= this.#read().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #read(): Promise<FindKey> {
    const response = await fetch(this.#url, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: "error", headers: { accept: "application/json" } });
    if (!response.ok) throw new Error(`the issuer's keys: HTTP ${response.status}`);
    const text = await response.text();
    if (text.length > MAX_BYTES) throw new Error("the issuer's keys: more than 1 MiB");
    const find = createLocalJWKSet(JSON.parse(text) as JSONWebKeySet);
    this.#keys = { find, read: this.#clock.monotonic() };
    return find;
  }

  #age(since: number): number {
    return this.#clock.monotonic() - since;
  }
}
