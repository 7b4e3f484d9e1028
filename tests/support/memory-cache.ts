import type { CacheClient, CacheScope } from "../../clients/cache/index.js";

/** A cache client whose entries are in this process. */
export function memoryCache(): CacheClient & { readonly entries: Map<string, Uint8Array> } {
  const entries = new Map<string, Uint8Array>();
  const key = (kind: string, scope: CacheScope, text: string) => JSON.stringify([kind, { ...scope, epoch: String(scope.epoch) }, text]);
  return {
    entries,
    get: async (kind, scope, text) => entries.get(key(kind, scope, text)),
    put: async (kind, scope, text, value) => void entries.set(key(kind, scope, text), value),
    async getOrCompute(kind, scope, text, compute) {
      const known = entries.get(key(kind, scope, text));
      if (known !== undefined) return { value: known, cached: true };
      const value = await compute();
      entries.set(key(kind, scope, text), value);
      return { value, cached: false };
    },
    close: () => {},
  };
}
