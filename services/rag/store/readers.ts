/**
 * The condition on a row of documents that a viewer may read it; the viewer is the parameter named: a list of text, or null for
 * one who sees everything.
 */
export function mayRead(parameter: string): string {
  return `(${parameter}::text[] is null or readers = '{}' or readers && ${parameter}::text[])`;
}
