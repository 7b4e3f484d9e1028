import { currentTenant, runBeyondCall } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { shuttingDown } from "./errors.js";
import { behind, type Position, type RunPlace, START_OF_RUN } from "./event-position.js";
import type { RunEvent } from "./run.js";

/** How long a run goes on without a reader, in milliseconds. */
const GRACE_MS = 30_000;
/** How long an ended run can be read again, in milliseconds. */
const KEPT_MS = 60_000;

/** A run of this replica that outlives the call that began it, with all that it has told. */
class LiveRun {
  readonly #events: { event: RunEvent; position: Position }[] = [];
  readonly #stop = new AbortController();
  readonly #clock: Clock;
  #readers = 0;
  #end: { error?: unknown } | undefined;
  #wake: (() => void)[] = [];
  #leaving = new AbortController();
  readonly ended: Promise<void>;

  /** @param closing aborts when the replica stops: the run is then another one's to go on with. */
  constructor(clock: Clock, closing: AbortSignal, work: (signal: AbortSignal) => AsyncIterable<RunEvent>) {
    this.#clock = clock;
    this.ended = this.#run((signal) => work(AbortSignal.any([signal, closing])));
  }

  /** The events behind a position, those to come too. When its last reader has left, the run has 30 seconds. */
  async *follow(after: Position): AsyncGenerator<RunEvent> {
    this.#readers += 1;
    this.#leaving.abort();
    try {
      for (let next = this.#indexBehind(after); ; ) {
        const found = this.#events[next];
        if (found !== undefined) {
          next += 1;
          yield found.event;
        } else if (this.#end === undefined) {
          await new Promise<void>((resolve) => this.#wake.push(resolve));
        } else if ("error" in this.#end) {
          throw this.#end.error;
        } else {
          return;
        }
      }
    } finally {
      this.#readers -= 1;
      if (this.#readers === 0) this.#expectReader();
    }
  }

  async #run(work: (signal: AbortSignal) => AsyncIterable<RunEvent>): Promise<void> {
    let position = START_OF_RUN;
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

  #indexBehind(after: Position): number {
    const told = JSON.stringify(after);
    if (told === JSON.stringify(START_OF_RUN)) return 0;
    return this.#events.findIndex(({ position }) => JSON.stringify(position) === told) + 1;
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

  /** Begins a run for the current caller, and reads it. */
  start(place: RunPlace, work: (signal: AbortSignal) => AsyncIterable<RunEvent>): AsyncGenerator<RunEvent> {
    const key = keyOf(place);
    const run = runBeyondCall(() => new LiveRun(this.#clock, this.#closing.signal, work));
    this.#runs.set(key, run);
    const forget = () => this.#runs.delete(key);
    run.ended.then(() => this.#clock.sleep(KEPT_MS, this.#closing.signal)).then(forget, forget);
    return run.follow(START_OF_RUN);
  }

  /** Ends all runs where they are: another replica continues them. */
  async close(): Promise<void> {
    this.#closing.abort(shuttingDown());
    await Promise.all([...this.#runs.values()].map(({ ended }) => ended));
  }

  /** Reads a run behind a position; undefined when this replica has no such run of the current tenant. */
  follow(place: RunPlace, after: Position): AsyncGenerator<RunEvent> | undefined {
    return this.#runs.get(keyOf(place))?.follow(after);
  }
}

function keyOf({ threadId, runId }: RunPlace): string {
  return `${currentTenant()}\n${threadId}\n${runId}`;
}
