import type { JobDocument, WindowedDocument } from "../store/store.js";
import { withWindows, type WindowOptions } from "./document-windows.js";
import type { CutDocument } from "./prepare-document.js";

/** Documents of more chunks are stored window by window: one transaction, and one turn of the event loop, would be too long. */
export const LARGE_DOCUMENT_CHUNKS = 4_000;
const WINDOW_CHUNKS = 1_000;

/** Stores a document that was read and cut, of any number of chunks. */
export async function storeLargeDocument(
  document: JobDocument,
  { chunks, ...head }: CutDocument,
  options: WindowOptions,
): Promise<{ kind: "windowed"; document: WindowedDocument }> {
  return withWindows(document, options, async (windows) => {
    for (let number = 0; number * WINDOW_CHUNKS < chunks.length; number += 1) {
      const some = chunks.slice(number * WINDOW_CHUNKS, (number + 1) * WINDOW_CHUNKS);
      await windows.write(number, some.map(({ text }) => text).join("\0"), async () => some);
    }
    return { kind: "windowed", document: { ...head, runs: windows.runs } };
  });
}
