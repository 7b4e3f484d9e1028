import { isDeepStrictEqual } from "node:util";

/** Whether metadata has each key of the filter with an equal value; both are JSON objects' texts. */
export function matchesFilter(metadata: string, filter: string | undefined): boolean {
  if (filter === undefined) return true;
  const has = JSON.parse(metadata) as Record<string, unknown>;
  const wants = JSON.parse(filter) as Record<string, unknown>;
  return Object.entries(wants).every(([key, value]) => Object.hasOwn(has, key) && isDeepStrictEqual(has[key], value));
}
