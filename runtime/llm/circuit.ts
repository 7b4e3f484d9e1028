import type { Clock } from "../clock.js";

export interface CircuitOptions {
  clock: Clock;
  /** Failures in a row after which it opens. */
  failures: number;
  /** How long it stays open before one try is let through, in milliseconds. */
  openMs: number;
}

/** Spares callers the wait for something that is down: it opens after failures in a row, and lets one try through from time to time. */
export class Circuit {
  readonly #options: CircuitOptions;
  #failed = 0;
  #openUntil = 0;
  #probing = false;

  constructor(options: CircuitOptions) {
    this.#options = options;
  }

  get isClosed(): boolean {
    return this.#openUntil === 0;
  }

  /** How long to wait before a try, in milliseconds; 0 lets the caller try, who must then say how it ended. */
  enter(): number {
    const wait = this.#openUntil - this.#options.clock.monotonic();
    if (wait > 0) return wait;
    if (this.#openUntil === 0) return 0;
    // Open and over: one caller finds out, the others wait for what it finds.
    if (this.#probing) return this.#options.openMs;
    this.#probing = true;
    return 0;
  }

  succeeded(): void {
    this.#failed = 0;
    this.#openUntil = 0;
    this.#probing = false;
  }

  /** @param certain whether this failure alone says that it is down. */
  failed(certain: boolean): void {
    this.#failed += 1;
    const opens = certain || this.#probing || this.#failed >= this.#options.failures;
    this.#probing = false;
    if (opens) this.#openUntil = this.#options.clock.monotonic() + this.#options.openMs;
  }

  /** The try ended without saying anything of what was tried: its caller went away. */
  abandoned(): void {
    this.#probing = false;
  }
}
