import { workerData } from "node:worker_threads";
import { serveThread } from "../threads/serve-thread.js";
import { MiniLmSession } from "./minilm-session.js";

const session = MiniLmSession.open((workerData as { file: string }).file);

serveThread(async (text: string) => (await session).embed(text));
