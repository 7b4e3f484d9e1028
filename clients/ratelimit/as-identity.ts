import { randomUUID } from "node:crypto";
import { backgroundCall, type Identity, runDetached, runInCall } from "../../runtime/call-context.js";

/** Runs `fn` for callers of one identity together: it has that, and no deadline or cancellation of one of them. */
export function asIdentity<T>(identity: Identity | undefined, fn: () => T): T {
  if (identity === undefined) return runDetached(fn);
  return runInCall(backgroundCall(identity, randomUUID(), new AbortController().signal), fn);
}

/** A value for each tenant and tier, made when it is first asked for. */
export class PerIdentity<T> {
  readonly #make: (identity: Identity | undefined) => T;
  readonly #byName = new Map<string, T>();
  /** The same, found faster. */
  readonly #byObject = new WeakMap<Identity, T>();
  #nobodys: T | undefined;

  constructor(make: (identity: Identity | undefined) => T) {
    this.#make = make;
  }

  of(identity: Identity | undefined): T {
    if (identity === undefined) return (this.#nobodys ??= this.#named("", undefined));
    let value = this.#byObject.get(identity);
    if (value === undefined) {
      value = this.#named(JSON.stringify([identity.tenant, identity.tier]), identity);
      this.#byObject.set(identity, value);
    }
    return value;
  }

  all(): T[] {
    return [...this.#byName.values()];
  }

  #named(name: string, identity: Identity | undefined): T {
    let value = this.#byName.get(name);
    if (value === undefined) {
      value = this.#make(identity);
      this.#byName.set(name, value);
    }
    return value;
  }
}
