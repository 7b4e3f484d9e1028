import { timingSafeEqual } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Identity } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import type { Logger } from "../../runtime/logger.js";
import { hashSecret, keyIdOf } from "./api-key.js";
import type { KeyStore, StoredKey } from "./key-store.js";

/** How often revocations of other replicas are looked for, in milliseconds. */
const REFRESH_EVERY_MS = 1_000;
/** Revocations of the last minute are looked for again and again: replicas' clocks and commits are never further apart. */
const LOOK_BACK_MS = 60_000;
/** What is believed of a key without asking, in milliseconds: bounds what a lost database connection can hide. */
const BELIEVED_MS = 60_000;
/** The same for ids that are no key's. */
const UNKNOWN_BELIEVED_MS = 5_000;
const CACHED_KEYS = 10_000;
/** How often the last use of keys is written, in milliseconds. */
const NOTE_USE_EVERY_MS = 60_000;

/** What is known of an id. */
interface Known {
  /** When it was asked, by the monotonic clock. */
  readonly asked: number;
  /** Undefined when there is no such key, or it was revoked. */
  readonly key: { readonly hash: Buffer; readonly identity: Identity; readonly expires: number } | undefined;
}

/**
 * Checks API keys, mostly without asking the store: a key that was asked for lately is remembered, until it is revoked
 * here, or on another replica a second ago.
 */
export class ApiKeys {
  readonly #store: KeyStore;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #known = new LRUCache<string, Known>({ max: CACHED_KEYS });
  readonly #asking = new Map<string, Promise<Known>>();
  readonly #used = new Set<string>();
  #usesNoted: number;
  #none = true;
  #refreshing: NodeJS.Timeout | undefined;
  #reachable = true;

  private constructor(options: { store: KeyStore; clock: Clock; logger: Logger }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#usesNoted = options.clock.monotonic();
  }

  /** Reads whether there are keys, and looks every second for what other replicas did. Rejects when the store cannot be reached. */
  static async open(options: { store: KeyStore; clock: Clock; logger: Logger }): Promise<ApiKeys> {
    const keys = new ApiKeys(options);
    keys.#none = await options.store.isEmpty();
    keys.#refreshing = setInterval(() => void keys.refresh(), REFRESH_EVERY_MS);
    keys.#refreshing.unref();
    return keys;
  }

  /** Whether there never was a key. */
  get none(): boolean {
    return this.#none;
  }

  /** Whose key a secret is; undefined when it is nobody's, or not any more. Rejects when the store must be asked and fails. */
  identity(secret: string): Identity | undefined | Promise<Identity | undefined> {
    const id = keyIdOf(secret);
    if (id === undefined) return undefined;
    const known = this.#known.get(id);
    const believedMs = known?.key === undefined ? UNKNOWN_BELIEVED_MS : BELIEVED_MS;
    if (known !== undefined && this.#clock.monotonic() - known.asked < believedMs) return this.#matching(id, known, secret);
    return this.#ask(id).then((answer) => this.#matching(id, answer, secret));
  }

  /** Remembers that there are keys: the first one was made here. */
  noteCreated(): void {
    this.#none = false;
  }

  /** Asks the store again about a key that was changed here. */
  forget(id: string): void {
    this.#known.delete(id);
    this.#asking.delete(id);
  }

  /** Looks for what other replicas did, and writes down which keys were used. Never rejects: a lost store is logged once. */
  async refresh(): Promise<void> {
    try {
      const now = this.#clock.now();
      for (const id of await this.#store.revokedSince(new Date(now - LOOK_BACK_MS))) this.forget(id);
      if (this.#none) this.#none = await this.#store.isEmpty();
      await this.#noteUse(now);
      this.#reachable = true;
    } catch (err) {
      if (this.#reachable) this.#logger.warn("key_store_lost", { err });
      this.#reachable = false;
    }
  }

  /** Writes down what was used and stops looking. */
  async close(): Promise<void> {
    clearInterval(this.#refreshing);
    this.#usesNoted = Number.NEGATIVE_INFINITY;
    await this.#noteUse(this.#clock.now()).catch((err: unknown) => this.#logger.warn("key_use_not_noted", { err }));
    await this.#store.close();
  }

  #matching(id: string, { key }: Known, secret: string): Identity | undefined {
    if (key === undefined || key.expires <= this.#clock.now() || !timingSafeEqual(hashSecret(secret), key.hash)) return undefined;
    this.#used.add(id);
    return key.identity;
  }

  /** Asks the store, once for all who ask at the same time. */
  #ask(id: string): Promise<Known> {
    const asking = this.#asking.get(id);
    if (asking !== undefined) return asking;
    const answer = this.#store.find(id).then((found) => {
      const known = toKnown(found, this.#clock.monotonic());
      // Unless it was forgotten meanwhile: what was read may be what has just changed.
      if (this.#asking.get(id) === answer) this.#known.set(id, known);
      return known;
    });
    this.#asking.set(id, answer);
    const done = () => {
      if (this.#asking.get(id) === answer) this.#asking.delete(id);
    };
    answer.then(done, done);
    return answer;
  }

  async #noteUse(now: number): Promise<void> {
    if (this.#used.size === 0 || this.#clock.monotonic() - this.#usesNoted < NOTE_USE_EVERY_MS) return;
    const ids = [...this.#used];
    this.#used.clear();
    this.#usesNoted = this.#clock.monotonic();
    await this.#store.noteUse(ids, new Date(now));
  }
}

function toKnown(found: { key: StoredKey; secretHash: Buffer } | undefined, asked: number): Known {
  if (found === undefined || found.key.revoked !== undefined) return { asked, key: undefined };
  const { tenant, user, roles, tier, expires } = found.key;
  return {
    asked,
    key: {
      hash: found.secretHash,
      identity: { tenant, roles, ...(user !== "" && { user }), ...(tier !== "" && { tier }) },
      expires: expires?.getTime() ?? Number.POSITIVE_INFINITY,
    },
  };
}
