import { unpackWindow } from "../cutting/cut-document.js";
import type { JobDocument, WindowedDocument } from "../store/store.js";
import { withWindows, type WindowOptions } from "./document-windows.js";
import type { LargeDocument } from "./prepare-document.js";

/** Stores a document that was read and cut, of any number of chunks. */
export async function storeLargeDocument(
  document: JobDocument,
  { document: head, windows: packed }: LargeDocument,
  options: WindowOptions,
): Promise<{ kind: "windowed"; document: WindowedDocument }> {
  return withWindows(document, options, async (windows) => {
    for (const [number, window] of packed.entries()) {
      const chunks = unpackWindow(window);
      await windows.write(number, chunks.map(({ text }) => text).join("\0"), async () => chunks);
    }
    return { kind: "windowed", document: { ...head, runs: windows.runs } };
  });
}
