import type { Client } from "@grpc/grpc-js";

/** Time for which a connection is given new calls, in milliseconds, and what of it is left to chance: not all renew at once. */
const AGE_MS = 50_000;
const AGE_SPREAD_MS = 10_000;
/** Time for the new connection to be there, in milliseconds; a client that nobody used for so long begins anew at once. */
const CONNECT_WITHIN_MS = 10_000;
/** Time after which a connection is left that is given no new calls, in milliseconds: attempts of calls may still begin on it before. */
const LEAVE_AFTER_MS = 10_000;

/**
 * A gRPC client that connects anew every minute, so that it finds new replicas; calls under way end where they are, and new
 * ones go to the old connection until the new one is there.
 * Servers end old connections for the same reason (DEFAULT_LIMITS.maxConnectionAgeMs), but what is sent to a connection in the
 * moment when its server ends it is lost, and whether it was begun is not known. So the client leaves before that.
 */
export class RenewedClient {
  readonly #open: () => Client;
  readonly #now: () => number;
  #client: Client;
  #renewAt: number;
  #next: Client | undefined;
  #left: { readonly client: Client; readonly closeAt: number } | undefined;

  /** @param open makes a client with connections of its own: "grpc.use_local_subchannel_pool". */
  constructor(open: () => Client, now: () => number = () => performance.now()) {
    this.#open = open;
    this.#now = now;
    this.#client = open();
    this.#renewAt = now() + ageMs();
  }

  /** The client to make a call with, now. */
  get current(): Client {
    const now = this.#now();
    if (now >= this.#renewAt + CONNECT_WITHIN_MS) this.#goOnWith(this.#next ?? this.#open());
    else if (now >= this.#renewAt) this.#connect();
    if (this.#left !== undefined && now >= this.#left.closeAt) {
      this.#left.client.close();
      this.#left = undefined;
    }
    return this.#client;
  }

  close(): void {
    const next = this.#next;
    this.#next = undefined;
    next?.close();
    this.#left?.client.close();
    this.#client.close();
  }

  #connect(): void {
    if (this.#next !== undefined) return;
    const next = this.#open();
    this.#next = next;
    next.waitForReady(Date.now() + CONNECT_WITHIN_MS, (error) => {
      if (this.#next !== next) return;
      if (error === undefined) return this.#goOnWith(next);
      // The old connection may be the better one yet; the next call tries again.
      this.#next = undefined;
      next.close();
    });
  }

  #goOnWith(client: Client): void {
    const now = this.#now();
    this.#left?.client.close();
    this.#left = { client: this.#client, closeAt: now + LEAVE_AFTER_MS };
    this.#client = client;
    this.#next = undefined;
    this.#renewAt = now + ageMs();
  }
}

function ageMs(): number {
  return AGE_MS + Math.random() * AGE_SPREAD_MS;
}
