import { durationFromMs, timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, type Client } from "@connectrpc/connect";
import type { ThreadLease as LeaseMessage } from "../../gen/ragents/checkpoint/v1/checkpoint_pb.js";
import type { CheckpointService } from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { hasCode } from "../../runtime/errors.js";

/** The shortest lease that there is, in milliseconds. */
const LEFT_MS = 1_000;

/** How a thread's lease is asked for. */
export interface LeaseOptions {
  /** How long it lasts without being renewed, in milliseconds; default 30,000. */
  ttlMs?: number;
  /** Takes the thread from an owner that holds it. */
  takeOver?: boolean;
  /** Unique to the holder; default: a new id. */
  owner?: string;
}

/** What a lease asks of the service. */
export interface LeaseClient extends Pick<Client<typeof CheckpointService>, "renewThreadLease"> {
  release(threadId: string, fencingToken: bigint): Promise<void>;
}

/**
 * The right to be a thread's only writer, renewed in the background until it is
 * released. When it is lost all the same, because the process was stopped for
 * longer than it lasts or the service could not be reached, `lost` aborts and
 * the service refuses this writer's puts.
 */
export class ThreadLease {
  readonly threadId: string;
  /** Goes with every put: the service refuses one with a token that is not the newest. */
  readonly fencingToken: bigint;
  readonly #client: LeaseClient;
  readonly #ttlMs: number;
  readonly #onEnd: (lease: ThreadLease) => void;
  readonly #lost = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #expiresAt: Date;

  constructor(
    client: LeaseClient,
    lease: LeaseMessage,
    ttlMs: number,
    onEnd: (lease: ThreadLease) => void,
  ) {
    this.threadId = lease.threadId;
    this.fencingToken = lease.fencingToken;
    this.#client = client;
    this.#ttlMs = ttlMs;
    this.#onEnd = onEnd;
    this.#expiresAt = expiryOf(lease);
    // Three tries before it ends; a timer that keeps no process alive.
    this.#timer = setInterval(() => void this.renew().catch(() => {}), ttlMs / 3).unref();
  }

  /** When others may take the thread, by the service's clock. */
  get expiresAt(): Date {
    return this.#expiresAt;
  }

  /** Aborts when the lease was lost. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Extends the lease now. Rejects with FAILED_PRECONDITION (LEASE_LOST) when it was lost. */
  async renew(): Promise<void> {
    await this.#extend(this.#ttlMs);
  }

  /**
   * Leaves the thread to whoever takes over what its holder has begun: the lease ends in a second without having been given back, so that
   * it is found among those whose holders died.
   */
  async leave(): Promise<void> {
    this.#end();
    await this.#extend(LEFT_MS);
  }

  async #extend(ttlMs: number): Promise<void> {
    try {
      const { lease } = await this.#client.renewThreadLease({
        threadId: this.threadId,
        fencingToken: this.fencingToken,
        ttl: durationFromMs(ttlMs),
      });
      if (lease !== undefined) this.#expiresAt = expiryOf(lease);
    } catch (error) {
      if (hasCode(error, Code.FailedPrecondition)) {
        this.#lost.abort(error);
        this.#end();
      }
      throw error;
    }
  }

  /** Gives the thread to the next writer. */
  async release(): Promise<void> {
    this.#end();
    await this.#client.release(this.threadId, this.fencingToken);
  }

  /** Releases the lease at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  #end(): void {
    clearInterval(this.#timer);
    this.#onEnd(this);
  }
}

function expiryOf(lease: LeaseMessage): Date {
  return lease.expireTime === undefined ? new Date(0) : timestampDate(lease.expireTime);
}
