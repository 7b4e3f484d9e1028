/** Puts of one thread, waiting for the end of this turn of the event loop. */
interface Waiting<P> {
  readonly puts: P[];
  readonly done: Promise<void>;
}

/**
 * Joins what a program puts into one thread in one turn of the event loop:
 * LangGraph writes a task's results and the checkpoint that follows at the same
 * time, and they go out as one call and one transaction.
 */
export class WriteQueue<P> {
  readonly #waiting = new Map<string, Waiting<P>>();
  readonly #send: (threadId: string, puts: readonly P[]) => Promise<void>;
  readonly #mayJoin: (puts: readonly P[], next: P) => boolean;

  /** `mayJoin` says whether `next` can go out with those that wait. */
  constructor(options: {
    send: (threadId: string, puts: readonly P[]) => Promise<void>;
    mayJoin: (puts: readonly P[], next: P) => boolean;
  }) {
    this.#send = options.send;
    this.#mayJoin = options.mayJoin;
  }

  /** Settles as the call does that the put goes out with. */
  put(threadId: string, put: P): Promise<void> {
    const waiting = this.#waiting.get(threadId);
    if (waiting !== undefined && this.#mayJoin(waiting.puts, put)) {
      waiting.puts.push(put);
      return waiting.done;
    }
    const puts = [put];
    const before = waiting?.done.catch(() => {});
    const done = new Promise<void>((resolve, reject) => {
      // setImmediate, not a microtask: all that this turn of the loop puts is in.
      setImmediate(() => {
        if (this.#waiting.get(threadId)?.puts === puts) this.#waiting.delete(threadId);
        // What could not join those before goes out after them.
        Promise.resolve(before)
          .then(() => this.#send(threadId, puts))
          .then(resolve, reject);
      });
    });
    this.#waiting.set(threadId, { puts, done });
    return done;
  }
}
