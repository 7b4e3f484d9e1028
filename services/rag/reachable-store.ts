import { isUnreachable } from "../../runtime/sql/database.js";
import { storeUnavailable } from "./errors.js";
import type { RagStore } from "./store/store.js";

/** The store, whose calls reject with UNAVAILABLE DEPENDENCY_UNAVAILABLE while its database cannot be reached. */
export function reachableStore(store: RagStore): RagStore {
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return async (...parameters: unknown[]) => {
        try {
          return (await member.apply(target, parameters)) as unknown;
        } catch (error) {
          throw isUnreachable(error) ? storeUnavailable(error) : error;
        }
      };
    },
  });
}
