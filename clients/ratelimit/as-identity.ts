import { randomUUID } from "node:crypto";
import { backgroundCall, type Identity, runDetached, runInCall } from "../../runtime/call-context.js";

/** Runs `fn` for callers of one identity together: it has that, and no deadline or cancellation of one of them. */
export function asIdentity<T>(identity: Identity | undefined, fn: () => T): T {
  if (identity === undefined) return runDetached(fn);
  return runInCall(backgroundCall(identity, randomUUID(), new AbortController().signal), fn);
}

/** A value for each identity, made when it is first asked for. */
export class PerIdentity<T> {
  readonly #make: (identity: Identity | undefined) => T;
  readonly #values = new Map<string, T>();

  constructor(make: (identity: Identity | undefined) => T) {
    this.#make = make;
  }

  of(identity: Identity | undefined): T {
    const name = identity === undefined ? "" : JSON.stringify([identity.tenant, identity.tier]);
    let value = this.#values.get(name);
    if (value === undefined) {
      value = this.#make(identity);
      this.#values.set(name, value);
    }
    return value;
  }

  all(): T[] {
    return [...this.#values.values()];
  }
}
