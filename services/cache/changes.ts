import type { CacheChange, ChangeListener } from "./store.js";

/** Tells the listeners of a tenant what changes in this process's view of the store. */
export class ChangeFeed {
  readonly #listeners = new Map<string, Set<ChangeListener>>();

  /** Returns a function that ends it. */
  add(tenant: string, listener: ChangeListener): () => void {
    let listeners = this.#listeners.get(tenant);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(tenant, listeners);
    }
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(tenant) === listeners) this.#listeners.delete(tenant);
    };
  }

  tell(tenant: string, change: CacheChange): void {
    for (const listener of this.#listeners.get(tenant) ?? []) listener.changed(change);
  }

  /** Changes may be missed from here on: every listener is told and dropped. */
  lose(): void {
    const all = [...this.#listeners.values()];
    this.#listeners.clear();
    for (const listeners of all) for (const listener of listeners) listener.lost();
  }
}
