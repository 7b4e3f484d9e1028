/** Tells watchers inside this process that a job has changed, so that they need not wait for their next look at the store. */
export class JobChanges {
  readonly #waiting = new Map<string, Set<() => void>>();

  /** Wakes everyone who waits for the job. */
  announce(jobId: string): void {
    const waiting = this.#waiting.get(jobId);
    this.#waiting.delete(jobId);
    for (const wake of waiting ?? []) wake();
  }

  /** Resolves at the next announcement of the job, or when `signal` aborts. */
  next(jobId: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener("abort", done);
        const waiting = this.#waiting.get(jobId);
        waiting?.delete(done);
        if (waiting?.size === 0) this.#waiting.delete(jobId);
        resolve();
      };
      if (signal.aborted) return resolve();
      signal.addEventListener("abort", done, { once: true });
      const waiting = this.#waiting.get(jobId) ?? new Set();
      waiting.add(done);
      this.#waiting.set(jobId, waiting);
    });
  }
}
