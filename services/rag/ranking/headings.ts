import type { StoredChunk } from "../store/store.js";

/** The document's title, unless it is the first heading, and the headings above a passage, outermost first. */
export function headingsOf({ document: { title }, headingPath }: StoredChunk): readonly string[] {
  return title === "" || headingPath[0] === title ? headingPath : [title, ...headingPath];
}
