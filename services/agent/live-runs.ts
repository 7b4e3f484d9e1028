import { currentCall, currentTenant, runBeyondCall } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { behind, isSamePosition, type Position, type RunPlace, START_OF_RUN } from "./event-position.js";
import type { RunEvent } from "./run.js";

/** How long a run goes on without a reader, in milliseconds. */
const GRACE_MS = 30_000;
/** How long an ended run can be read again, in milliseconds. */
const KEPT_MS = 60_000;

/** A run of this replica that outlives the call that began it, with all that it has told. */
class LiveRun {
  /** What was asked, as a hash; empty without an idempotency key. */
  readonly fingerprint: string;
  readonly ended: Promise<void>;
  readonly #from: Position;
  readonly #events: { event: RunEvent; position: Position }[] = [];
  readonly #stop = new AbortController();
  readonly #clock: Clock;
  #readers = 0;
  #end: { error?: unknown } | undefined;
  #wake: (() => void)[] = [];
  #leaving = new AbortController();

  constructor(clock: Clock, fingerprint: string, from: Position, work: (signal: AbortSignal) => AsyncIterable<RunEvent>) {
    this.#clock = clock;
    this.fingerprint = fingerprint;
    this.#from = from;
    this.ended = this.#run(work);
  }

  get failed(): boolean {
    return this.#end !== undefined && "error" in this.#end;
  }

  /** The events behind a position, those to come too; undefined when the run did not tell that position here. */
  follow(after: Position): AsyncGenerator<RunEvent> | undefined {
    const told = this.#events.findLastIndex(({ position }) => isSamePosition(position, after));
    return told === -1 && !isSamePosition(after, this.#from) ? undefined : this.#read(told + 1);
  }

  /** When its last reader has left, the run has 30 seconds. */
  async *#read(first: number): AsyncGenerator<RunEvent> {
    const gone = currentCall()?.signal;
    // Once, not for every wait. That it wakes the other readers too does no harm.
    const wake = () => this.#wakeReaders();
    gone?.addEventListener("abort", wake);
    this.#readers += 1;
    this.#leaving.abort();
    try {
      for (let next = first; ; ) {
        const found = this.#events[next];
        if (found !== undefined) {
          next += 1;
          yield found.event;
        } else if (gone?.aborted) {
          return;
        } else if (this.#end === undefined) {
          await new Promise<void>((resolve) => void this.#wake.push(resolve));
        } else if ("error" in this.#end) {
          throw this.#end.error;
        } else {
          return;
        }
      }
    } finally {
      gone?.removeEventListener("abort", wake);
      this.#readers -= 1;
      if (this.#readers === 0) this.#expectReader();
    }
  }

  async #run(work: (signal: AbortSignal) => AsyncIterable<RunEvent>): Promise<void> {
    let position = this.#from;
    try {
      for await (const event of work(this.#stop.signal)) {
        position = behind(position, event);
        this.#events.push({ event, position });
        this.#wakeReaders();
      }
      this.#end = {};
    } catch (error) {
      this.#end = { error };
    }
    this.#wakeReaders();
  }

  #wakeReaders(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  #expectReader(): void {
    this.#leaving = new AbortController();
    const stop = () => this.#stop.abort(new Error("nobody reads the run any more"));
    this.#clock.sleep(GRACE_MS, this.#leaving.signal).then(stop, () => {});
  }
}

/** The runs of this replica that outlive their calls. */
export class LiveRuns {
  readonly #clock: Clock;
  readonly #runs = new Map<string, LiveRun>();
  readonly #closing = new AbortController();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Begins a run, or what is left of one behind a position, for the current caller, and reads it. */
  start(
    place: RunPlace,
    work: (signal: AbortSignal) => AsyncIterable<RunEvent>,
    { fingerprint = "", from = START_OF_RUN }: { fingerprint?: string; from?: Position } = {},
  ): AsyncGenerator<RunEvent> {
    const key = keyOf(place);
    const run = runBeyondCall(() => new LiveRun(this.#clock, fingerprint, from, work));
    this.#runs.set(key, run);
    const forget = () => this.#runs.get(key) === run && this.#runs.delete(key);
    // A failed run is not read again but tried again.
    void run.ended.then(() => (run.failed ? undefined : this.#clock.sleep(KEPT_MS, this.#closing.signal))).then(forget, forget);
    return run.follow(from) as AsyncGenerator<RunEvent>;
  }

  /** Reads a run behind a position; undefined when this replica has not told of it from there. */
  follow(place: RunPlace, after: Position): { fingerprint: string; events: AsyncGenerator<RunEvent> } | undefined {
    const run = this.#runs.get(keyOf(place));
    const events = run?.follow(after);
    return run === undefined || events === undefined ? undefined : { fingerprint: run.fingerprint, events };
  }

  /** Forgets what the runs of a thread have told. */
  forgetThread(threadId: string): void {
    const prefix = `${currentTenant()}\n${threadId}\n`;
    for (const key of this.#runs.keys()) if (key.startsWith(prefix)) this.#runs.delete(key);
  }

  /** Resolves when all runs have ended, and after `ms` at the latest. */
  async settled(ms: number): Promise<void> {
    const enough = new AbortController();
    const ends = Promise.all([...this.#runs.values()].map(({ ended }) => ended));
    await Promise.race([ends, this.#clock.sleep(ms, enough.signal).catch(() => {})]);
    enough.abort();
  }

  /** Ends what waits in here. */
  close(): void {
    this.#closing.abort();
  }
}

function keyOf({ threadId, runId }: RunPlace): string {
  return `${currentTenant()}\n${threadId}\n${runId}`;
}
