import { setMaxListeners } from "node:events";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type { WatchInvalidationsResponseSchema } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import type { Clock } from "../../runtime/clock.js";
import { meshError } from "../../runtime/errors.js";
import type { CacheChange, CacheStore } from "./store.js";

type WatchEvent = MessageInitShape<typeof WatchInvalidationsResponseSchema>;

const HEARTBEAT_MS = 1_000;
/** A watcher that is so many events behind starts anew: it reads slower than the others write. */
const MAX_QUEUED = 10_000;

const HEARTBEAT: WatchEvent = { event: { case: "heartbeat", value: {} } };

/** The streams that tell callers what changes. */
export class WatchHub {
  readonly #store: CacheStore;
  readonly #clock: Clock;
  readonly #closing = new AbortController();

  constructor(options: { store: CacheStore; clock: Clock }) {
    this.#store = options.store;
    this.#clock = options.clock;
    // Every stream listens; Node would warn of a leak at eleven.
    setMaxListeners(0, this.#closing.signal);
  }

  /** Tells a tenant's changes until the signal aborts; throws when some may have been missed. */
  async *watch(tenant: string, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const queue: WatchEvent[] = [];
    let failure: Error | undefined;
    let wake = () => {};
    const push = (event: WatchEvent) => {
      if (queue.length >= MAX_QUEUED) failure ??= unavailable("The watcher is too far behind; watch again.");
      else queue.push(event);
      wake();
    };
    const fail = (error: Error) => {
      failure ??= error;
      wake();
    };
    const shutDown = () => {
      fail(meshError(Code.Unavailable, ErrorReason.SHUTTING_DOWN, "The server is shutting down; watch another replica."));
    };
    const unwatch = await this.#store
      .watch(tenant, {
        changed: (change) => push(toEvent(change)),
        lost: () => fail(unavailable("Changes may have been missed; watch again.")),
      })
      .catch((cause: unknown) => {
        throw unavailable("The cache's store does not answer; go on without it.", cause);
      });
    if (this.#closing.signal.aborted) shutDown();
    this.#closing.signal.addEventListener("abort", shutDown);
    const stop = new AbortController();
    signal.addEventListener("abort", () => wake(), { once: true, signal: stop.signal });
    void this.#beat(() => push(HEARTBEAT), stop.signal);
    try {
      yield HEARTBEAT;
      while (!signal.aborted) {
        const event = queue.shift();
        if (event !== undefined) yield event;
        else if (failure !== undefined) throw failure;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      stop.abort();
      this.#closing.signal.removeEventListener("abort", shutDown);
      unwatch();
    }
  }

  /** Ends all streams, so that the server can drain. */
  close(): void {
    this.#closing.abort();
  }

  async #beat(beat: () => void, stopped: AbortSignal): Promise<void> {
    while (!stopped.aborted) {
      await this.#clock.sleep(HEARTBEAT_MS, stopped).then(beat, () => {});
    }
  }
}

function toEvent(change: CacheChange): WatchEvent {
  if (change.kind === "removed") return { event: { case: "invalidated", value: change.selector } };
  const { scope, hashes } = change;
  return { event: { case: "replaced", value: { kind: scope.kind, scope: scope.parts, textHashes: [...hashes] } } };
}

function unavailable(message: string, cause?: unknown): Error {
  return meshError(Code.Unavailable, ErrorReason.CACHE_UNAVAILABLE, message, { cause, retryAfterMs: 100 });
}
