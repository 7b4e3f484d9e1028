import { openSync, writeSync } from "node:fs";
import { RateLimiter } from "../../clients/ratelimit/index.js";
import { type Clock, systemClock } from "../../runtime/clock.js";

/**
 * A process that asks as fast as it is told to and writes down what passes: a line "key cost milliseconds" for each, in the
 * machine's monotonic time, which all processes share.
 * Arguments: address, file of the history, keys separated by commas, pause in milliseconds between two requests of a worker.
 */
const [address, history, keyList, pauseMs] = process.argv.slice(2) as [string, string, string, string];
const keys = keyList.split(",");
const file = openSync(history, "a");

let decidedAt = 0;
const clock: Clock = {
  ...systemClock,
  monotonic() {
    decidedAt = Number(process.hrtime.bigint()) / 1e6;
    return decidedAt;
  },
};

// One worker for each limiter, so that the last time its clock was read is the time of its decision.
const limiter = new RateLimiter({ address, onUnavailable: "closed", clock });
let running = true;
process.once("SIGTERM", () => {
  running = false;
});
for (let i = process.pid; running; i += 1) {
  const key = keys[i % keys.length]!;
  const cost = i % 7 === 0 ? 3 : 1;
  const { allowed, degraded } = await limiter.check(key, { cost });
  if (allowed && degraded) throw new Error("a fail-closed limit let a request pass undecided");
  // Written before anything else happens: a killed process leaves no request that passed unseen.
  if (allowed) writeSync(file, `${key} ${cost} ${decidedAt}\n`);
  await systemClock.sleep(Number(pauseMs) * Math.random());
}
await limiter.close();
