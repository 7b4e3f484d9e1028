import { Worker, type WorkerOptions } from "node:worker_threads";

/** Starts a thread on a module beside the caller's: `startThread("./merge-thread.js", import.meta.url)`. */
export function startThread(module: string, parent: string, options: Omit<WorkerOptions, "eval"> = {}): Worker {
  if (!parent.endsWith(".ts")) return new Worker(new URL(module, parent), options);
  // Run from its sources the program has a loader, which threads do not inherit.
  const load = `import("tsx/esm/api").then(({ tsImport }) => tsImport(${JSON.stringify(module)}, ${JSON.stringify(parent)}))`;
  return new Worker(load, { ...options, eval: true });
}
