import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Lookups, StreamGetRequestSchema, StreamGetResponse } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { Channel } from "../../runtime/channel.js";
import type { Clock } from "../../runtime/clock.js";

type Request = MessageInitShape<typeof StreamGetRequestSchema>;

/** A stream is followed by another after this time, so that new replicas get their share, in milliseconds. */
const MAX_AGE_MS = 60_000;

export interface LookupStreamOptions {
  /** Opens a stream that ends with the signal. */
  open: (requests: AsyncIterable<Request>, signal: AbortSignal) => AsyncIterable<StreamGetResponse>;
  clock: Clock;
}

/** Sends lookups over one stream: responses come in the order of the requests. */
export class LookupStream {
  readonly #options: LookupStreamOptions;
  #current: OpenStream | undefined;

  constructor(options: LookupStreamOptions) {
    this.#options = options;
  }

  /** Rejects when the stream fails; the next request opens another. */
  ask(request: Request): Promise<Lookups> {
    const { clock } = this.#options;
    if (this.#current !== undefined && clock.monotonic() - this.#current.openedAt > MAX_AGE_MS) {
      this.#current.finish();
      this.#current = undefined;
    }
    if (this.#current === undefined || this.#current.ended) this.#current = new OpenStream(this.#options);
    return this.#current.ask(request);
  }

  /** Gives up on what was asked: the service says nothing any more. */
  abandon(): void {
    this.#current?.abort();
    this.#current = undefined;
  }

  /** Ends the stream when what was asked is answered. */
  close(): void {
    this.#current?.finish();
    this.#current = undefined;
  }
}

interface Waiter {
  resolve: (lookups: Lookups) => void;
  reject: (error: unknown) => void;
}

class OpenStream {
  readonly openedAt: number;
  readonly #stop = new AbortController();
  readonly #requests = new Channel<Request>();
  readonly #waiting: Waiter[] = [];
  ended = false;

  constructor({ open, clock }: LookupStreamOptions) {
    this.openedAt = clock.monotonic();
    void this.#read(open(this.#requests, this.#stop.signal));
  }

  ask(request: Request): Promise<Lookups> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#requests.push(request);
    });
  }

  finish(): void {
    this.#requests.close();
  }

  abort(): void {
    this.#stop.abort();
  }

  async #read(responses: AsyncIterable<StreamGetResponse>): Promise<void> {
    let failure: unknown = new Error("the stream ended");
    try {
      for await (const { lookups } of responses) {
        const waiter = this.#waiting.shift();
        if (lookups === undefined) waiter?.reject(new Error("the response has no lookups"));
        else waiter?.resolve(lookups);
      }
    } catch (error) {
      failure = error;
    }
    this.ended = true;
    this.finish();
    for (const { reject } of this.#waiting.splice(0)) reject(failure);
  }
}
