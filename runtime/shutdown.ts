import type { Logger } from "./logger.js";

/**
 * Resolves with the signal's name at the first SIGTERM or SIGINT. A second one
 * ends the process at once.
 */
export function untilSignalled(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let first = true;
    for (const name of ["SIGTERM", "SIGINT"] as const) {
      process.on(name, () => {
        if (!first) process.exit(1);
        first = false;
        resolve(name);
      });
    }
  });
}

/** Runs every step in order within `graceMs`; a step that fails or hangs is logged and does not stop the others. */
export async function shutDown(steps: [name: string, step: () => Promise<void>][], graceMs: number, logger: Logger): Promise<void> {
  const deadline = Date.now() + graceMs;
  for (const [name, step] of steps) {
    const left = Math.max(0, deadline - Date.now());
    let timer: NodeJS.Timeout | undefined;
    const outOfTime = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${graceMs} ms`)), left);
    });
    try {
      await Promise.race([step(), outOfTime]);
    } catch (err) {
      logger.error("shutdown_step_failed", { step: name, err });
    } finally {
      clearTimeout(timer);
    }
  }
}
