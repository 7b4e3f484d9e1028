import { workerData } from "node:worker_threads";
import { serveThread } from "../threads/serve-thread.js";
import { MiniLmSession } from "./minilm-session.js";

const session = MiniLmSession.open((workerData as { file: string }).file);

serveThread(async (texts: readonly string[]) => {
  const vectors: Float32Array[] = [];
  for (const text of texts) vectors.push(await (await session).embed(text));
  return vectors;
});
