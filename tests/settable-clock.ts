import { ManualClock } from "./manual-clock.js";

/** A clock that can also be set back. */
export class SettableClock extends ManualClock {
  #offsetMs = 0;

  override now(): number {
    return super.now() + this.#offsetMs;
  }

  /** Sets the wall clock forth or, when negative, back. */
  set(byMs: number): void {
    this.#offsetMs += byMs;
  }
}
