import { parentPort, type Transferable } from "node:worker_threads";
import type { ThreadAnswer } from "./thread-pool.js";

/** Answers the requests of a ThreadPool, in the pool's thread. `transfer` names the buffers of an answer that are handed over. */
export function serveThread<Request, Response>(
  answer: (request: Request) => Promise<Response>,
  transfer: (response: Response) => Transferable[] = () => [],
): void {
  const reply = (message: ThreadAnswer<Response>, buffers: Transferable[]) => parentPort?.postMessage(message, buffers);
  parentPort?.on("message", (request: Request) => {
    answer(request).then(
      (value) => reply({ value }, transfer(value)),
      (error: unknown) => reply({ error }, []),
    );
  });
}
