import { z } from "zod";
import type { Clock } from "./clock.js";
import { integer } from "./config.js";
import type { Logger } from "./logger.js";
import { isUnreachable } from "./sql/database.js";

/** How long a service that starts waits for its store: in a cluster all start at once, and the store may be the slowest. */
export const storePatienceSchema = z.object({
  RAGENTS_STORE_WAIT_S: integer({ default: 15, min: 0, max: 600, unit: "seconds" }),
});

const PAUSE_MS = 500;
/** A line of the log at most this often. */
const REMIND_MS = 5_000;
/** Redis' own words for "not yet": it reads its file, or its cluster is not complete. */
const REDIS_NOT_YET = /^(LOADING|MASTERDOWN|CLUSTERDOWN)/;

/**
 * Resolves when `ping` does. While the store is away it asks again every half second, says so in the log, and rejects with the
 * last failure after `waitMs`; a refusal, such as a wrong password, rejects at once.
 */
export async function untilReachable(
  ping: () => Promise<unknown>,
  { clock, logger, waitMs }: { clock: Clock; logger: Logger; waitMs: number },
): Promise<void> {
  const started = clock.monotonic();
  let nextLine = 0;
  for (;;) {
    try {
      await ping();
      if (nextLine > 0) logger.info("store_reachable", { seconds: (clock.monotonic() - started) / 1000 });
      return;
    } catch (error) {
      const waited = clock.monotonic() - started;
      if (!isAway(error) || waited >= waitMs) throw error;
      if (waited >= nextLine) {
        logger.warn("waiting_for_store", { seconds_left: Math.ceil((waitMs - waited) / 1000), reason: (error as Error).message });
        nextLine = waited + REMIND_MS;
      }
      await clock.sleep(Math.min(PAUSE_MS, waitMs - waited));
    }
  }
}

/** Whether it may yet come: nobody answers, or it says that it is starting. */
function isAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error.name === "ReplyError") return REDIS_NOT_YET.test(error.message);
  return isUnreachable(error) || /^(Command timed out|Connection is closed|Reached the max retries|Failed to refresh slots cache)/.test(error.message);
}
