import { parentPort, workerData } from "node:worker_threads";
import { openDatabase } from "./pglite-template.js";

/** What the thread of an embedded database answers: null when it is open, then the server's bytes for each of the client's. */
export type PgliteReply = null | Uint8Array<ArrayBuffer>;

const { folder } = workerData as { folder: string | undefined };
const port = parentPort!;
const db = await openDatabase(folder);

let last = Promise.resolve();
port.on("message", (bytes: Uint8Array | null) => {
  last = last.then(() => (bytes === null ? end() : answer(bytes)));
});
port.postMessage(null);

async function answer(bytes: Uint8Array): Promise<void> {
  // A copy of its own: what the engine returns is a view on its memory.
  const reply = (await db.execProtocolRaw(bytes)).slice();
  port.postMessage(reply, [reply.buffer as ArrayBuffer]);
}

async function end(): Promise<void> {
  await db.close();
  port.close();
}
