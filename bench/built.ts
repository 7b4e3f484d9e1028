/** A module of the built program, which is what users run; as sources, tsx would have it name every closure that it makes. */
export function built<T>(path: string): Promise<T> {
  return import(new URL(`../dist/${path}`, import.meta.url).href) as Promise<T>;
}
