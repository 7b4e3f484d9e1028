import { Code, ConnectError } from "@connectrpc/connect";
import { BrokenCircuitError, circuitBreaker, ConsecutiveBreaker, handleWhen } from "cockatiel";

/** Faults in a row after which the service is not asked for a while. */
const FAULTS_TO_BREAK = 5;
const BREAK_MS = 1_000;

export type CacheBreaker = ReturnType<typeof createCacheBreaker>;

/** Stops asking a service that failed several times in a row; after a second one call tries it again. */
export function createCacheBreaker() {
  return circuitBreaker(handleWhen(isFault), {
    halfOpenAfter: BREAK_MS,
    breaker: new ConsecutiveBreaker(FAULTS_TO_BREAK),
  });
}

/** Whether the service is at fault, not the request. */
function isFault(error: Error): boolean {
  if (error instanceof BrokenCircuitError) return false;
  return !(error instanceof ConnectError) || (error.code !== Code.InvalidArgument && error.code !== Code.FailedPrecondition);
}
