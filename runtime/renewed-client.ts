import type { Client } from "@grpc/grpc-js";

/** Time for which a connection is given new calls, in milliseconds, and what of it is left to chance: not all renew at once. */
const AGE_MS = 50_000;
const AGE_SPREAD_MS = 10_000;
/** Time after which a connection is left that is given no new calls, in milliseconds: attempts of calls may still begin on it before. */
const LEAVE_AFTER_MS = 15_000;

/**
 * A gRPC client that connects anew every minute, so that it finds new replicas; calls under way end where they are.
 * Servers end old connections for the same reason (DEFAULT_LIMITS.maxConnectionAgeMs), but what is sent to a connection in the
 * moment when its server ends it is lost, and whether it was begun is not known. So the client leaves before that.
 */
export class RenewedClient {
  readonly #open: () => Client;
  readonly #now: () => number;
  #client: Client;
  #renewAt: number;
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
    if (now >= this.#renewAt) {
      this.#left?.client.close();
      this.#left = { client: this.#client, closeAt: now + LEAVE_AFTER_MS };
      this.#client = this.#open();
      this.#renewAt = now + ageMs();
    } else if (this.#left !== undefined && now >= this.#left.closeAt) {
      this.#left.client.close();
      this.#left = undefined;
    }
    return this.#client;
  }

  close(): void {
    this.#left?.client.close();
    this.#client.close();
  }
}

function ageMs(): number {
  return AGE_MS + Math.random() * AGE_SPREAD_MS;
}
