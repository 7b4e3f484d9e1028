import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { CheckRequest, CheckResult, RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import type { Decision } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import type { Identity } from "../../runtime/call-context.js";
import { coalesce } from "../../runtime/coalesce.js";
import { hasCode } from "../../runtime/errors.js";
import { fromStatus } from "../../runtime/grpc-status.js";
import { asIdentity } from "./as-identity.js";
import { checkRequest } from "./check-request.js";

const MAX_BATCH = 500;

/** Checks of one identity, each decided by the service: those of one turn of the event loop go out as one call. */
export class BatchedChecks {
  readonly #client: Client<typeof RateLimitService>;
  readonly #patienceMs: number;
  readonly #check: (request: CheckRequest) => Promise<CheckResult>;

  /** @param patienceMs silence after which a call fails with DEADLINE_EXCEEDED */
  constructor(client: Client<typeof RateLimitService>, identity: Identity | undefined, patienceMs: number) {
    this.#client = client;
    this.#patienceMs = patienceMs;
    this.#check = coalesce((checks) => asIdentity(identity, () => this.#send(checks)), { maxBatch: MAX_BATCH });
  }

  /** Rejects with what a Check alone would answer. */
  async check(key: string, cost: number): Promise<Decision> {
    const { result } = await this.#check(checkRequest(key, cost));
    if (result.case === "error") throw fromStatus(result.value);
    if (result.case === undefined) throw new ConnectError("the service left a check without result", Code.Internal);
    return result.value;
  }

  async #send(checks: CheckRequest[]): Promise<CheckResult[]> {
    const call = async () => (await this.#client.batchCheck({ checks }, { timeoutMs: this.#patienceMs })).results;
    try {
      return await call();
    } catch (error) {
      // A replica went away: another one answers. What the first took is lost, which admits less, never more.
      if (hasCode(error, Code.Unavailable)) return call();
      throw error;
    }
  }
}
