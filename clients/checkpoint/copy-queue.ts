import { type Identity, currentCall, runBeyondCall } from "../../runtime/call-context.js";

/** Copies that one call may ask for. */
const MAX_COPIES = 100;

/** A thread's id, and that of its copy. */
export interface ThreadCopy {
  readonly sourceThreadId: string;
  readonly targetThreadId: string;
}

interface Waiting {
  readonly copy: ThreadCopy;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Copies of threads on their way to the service. While a call is under way those of the same caller wait for its end and go out
 * together: the more there are, the more of them share a call and a transaction.
 */
export class CopyQueue {
  readonly #send: (copies: readonly ThreadCopy[]) => Promise<readonly (Error | undefined)[]>;
  readonly #waiting = new Map<string, Waiting[]>();

  /** @param send resolves, for each copy, why it was not made */
  constructor(send: (copies: readonly ThreadCopy[]) => Promise<readonly (Error | undefined)[]>) {
    this.#send = send;
  }

  /** Resolves when the copy is durable. */
  add(copy: ThreadCopy): Promise<void> {
    return new Promise((resolve, reject) => {
      const caller = callerOf(currentCall()?.identity);
      const waiting = this.#waiting.get(caller);
      if (waiting !== undefined) return void waiting.push({ copy, resolve, reject });
      this.#waiting.set(caller, [{ copy, resolve, reject }]);
      // What others wait for is not given up with the call that it was added in.
      void runBeyondCall(() => this.#work(caller));
    });
  }

  async #work(caller: string): Promise<void> {
    const waiting = this.#waiting.get(caller) ?? [];
    while (waiting.length > 0) {
      const batch = waiting.splice(0, MAX_COPIES);
      try {
        const errors = await this.#send(batch.map(({ copy }) => copy));
        batch.forEach(({ resolve, reject }, i) => (errors[i] === undefined ? resolve() : reject(errors[i])));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#waiting.delete(caller);
  }
}

/** One call goes out in one caller's name. */
function callerOf(identity: Identity | undefined): string {
  return JSON.stringify(identity ?? null);
}
