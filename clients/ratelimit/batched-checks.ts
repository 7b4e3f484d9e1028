import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import {
  type CheckRequest,
  CheckRequestSchema,
  type CheckResult,
  type RateLimitService,
} from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import type { Decision } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import { backgroundCall, currentCall, type Identity, runDetached, runInCall } from "../../runtime/call-context.js";
import { coalesce } from "../../runtime/coalesce.js";
import { hasCode, invalidField } from "../../runtime/errors.js";
import { fromStatus } from "../../runtime/grpc-status.js";
import { messageCheck } from "../../runtime/validation.js";

const MAX_BATCH = 500;
const validate = messageCheck();

/** Checks of one turn of the event loop go out as one call for each identity. */
export class BatchedChecks {
  readonly #client: Client<typeof RateLimitService>;
  readonly #patienceMs: number;
  readonly #byIdentity = new Map<string, (request: CheckRequest) => Promise<CheckResult>>();

  /** @param patienceMs silence after which a call fails with DEADLINE_EXCEEDED */
  constructor(client: Client<typeof RateLimitService>, patienceMs: number) {
    this.#client = client;
    this.#patienceMs = patienceMs;
  }

  /** Rejects with what a Check alone would answer. */
  async check(key: string, cost: number | undefined): Promise<Decision> {
    // Here and not only at the service: one bad check must not spoil the others of its batch.
    if (cost !== undefined && !Number.isInteger(cost)) throw invalidField("cost", "give a whole number, at least 1");
    const request = create(CheckRequestSchema, { key, ...(cost !== undefined && { cost }) });
    validate(CheckRequestSchema, request);
    const { result } = await this.#batchOf(currentCall()?.identity)(request);
    if (result.case === "error") throw fromStatus(result.value);
    if (result.case === undefined) throw new ConnectError("the service left a check without result", Code.Internal);
    return result.value;
  }

  #batchOf(identity: Identity | undefined): (request: CheckRequest) => Promise<CheckResult> {
    const name = identity === undefined ? "" : JSON.stringify([identity.tenant, identity.tier]);
    let batch = this.#byIdentity.get(name);
    if (batch === undefined) {
      batch = coalesce((checks) => asIdentity(identity, () => this.#send(checks)), { maxBatch: MAX_BATCH });
      this.#byIdentity.set(name, batch);
    }
    return batch;
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

/** A batch is nobody's own call: it has the identity of its members, and no deadline or cancellation of one of them. */
function asIdentity<T>(identity: Identity | undefined, fn: () => T): T {
  if (identity === undefined) return runDetached(fn);
  return runInCall(backgroundCall(identity, randomUUID(), new AbortController().signal), fn);
}
