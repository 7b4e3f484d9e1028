import type { CacheSelector } from "../../gen/ragents/cache/v1/cache_pb.js";
import type { ReplacedEntries, WatchInvalidationsResponse } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import type { Clock } from "../../runtime/clock.js";

/** The server shows that it lives every second; a stream that is silent for longer than this is dead, in milliseconds. */
const SILENCE_MS = 3_000;
/** Streams are replaced before servers end them for their age, and the new one begins before the old one ends. */
const RENEW_MS = 240_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5_000;

export interface InvalidationWatchOptions {
  /** Opens a stream that ends with the signal. */
  open: (signal: AbortSignal) => AsyncIterable<WatchInvalidationsResponse>;
  clock: Clock;
  invalidated: (selector: CacheSelector) => void;
  replaced: (entries: ReplacedEntries) => void;
  /** Changes may have been missed: nothing that is held may be trusted. */
  lost: () => void;
}

/** Listens for what other callers change, over one stream that is opened again when it breaks. */
export class InvalidationWatch {
  readonly #options: InvalidationWatchOptions;
  readonly #closing = new AbortController();
  /** Whether every change is heard: only then may anything be kept. */
  live = false;

  constructor(options: InvalidationWatchOptions) {
    this.#options = options;
    void this.#run();
  }

  close(): void {
    this.#closing.abort();
  }

  async #run(): Promise<void> {
    const { clock, lost } = this.#options;
    const { signal } = this.#closing;
    let current: Session | undefined;
    let retryMs = FIRST_RETRY_MS;
    while (!signal.aborted) {
      const next = new Session(this.#options, signal);
      if (await next.begun) {
        current?.end();
        current = next;
        this.live = true;
        retryMs = FIRST_RETRY_MS;
      } else {
        retryMs = Math.min(LAST_RETRY_MS, retryMs * 2);
      }
      if (current !== undefined) {
        const patience = new AbortController();
        const due = clock.sleep(current === next ? RENEW_MS : retryMs, patience.signal).catch(() => {});
        await Promise.race([due, current.over]);
        patience.abort();
        if (!current.ended) continue;
        current = undefined;
        this.live = false;
        lost();
      }
      await clock.sleep(retryMs, signal).catch(() => {});
    }
    current?.end();
    this.live = false;
    lost();
  }
}

/** One stream. */
class Session {
  readonly #stop = new AbortController();
  #heard = 0;
  ended = false;
  /** Resolves to whether the stream began: from then on every change is told. */
  readonly begun: Promise<boolean>;
  /** Resolves when the stream has ended. */
  readonly over: Promise<void>;

  constructor(options: InvalidationWatchOptions, closing: AbortSignal) {
    const end = () => this.end();
    closing.addEventListener("abort", end, { once: true });
    let begin = (_began: boolean) => {};
    this.begun = new Promise((resolve) => (begin = resolve));
    this.over = this.#listen(options, () => begin(true)).then(() => {
      closing.removeEventListener("abort", end);
      this.ended = true;
      this.#stop.abort();
      begin(false);
    });
    void this.#watchSilence(options.clock);
  }

  end(): void {
    this.#stop.abort();
  }

  async #listen({ open, invalidated, replaced }: InvalidationWatchOptions, begin: () => void): Promise<void> {
    try {
      for await (const { event } of open(this.#stop.signal)) {
        this.#heard += 1;
        if (event.case === "invalidated") invalidated(event.value);
        else if (event.case === "replaced") replaced(event.value);
        else begin();
      }
    } catch {
      // However it ended, it has to be opened anew.
    }
  }

  async #watchSilence(clock: Clock): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const heard = this.#heard;
      await clock.sleep(SILENCE_MS, signal).catch(() => {});
      if (heard === this.#heard) this.end();
    }
  }
}
