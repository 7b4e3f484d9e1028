import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { Histogram, type Registry } from "prom-client";
import type { RagService, RetrieveRequestSchema, RetrieveResponse } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { currentCall, type Identity, runBeyondCall } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { fromStatus } from "../../runtime/grpc-status.js";
import { AdaptiveBatches } from "./adaptive-batches.js";

type Retrieval = MessageInitShape<typeof RetrieveRequestSchema>;

/**
 * The retrievals of runs, those of one caller that come close together in one call to the rag service, which embeds their
 * queries in one call too. Those that ask the same share an answer.
 */
export class BatchedRetrieval {
  readonly #rag: Client<typeof RagService>;
  readonly #clock: Clock;
  readonly #sizes: Histogram;
  readonly #callers = new Map<string, AdaptiveBatches<Retrieval, () => RetrieveResponse>>();

  constructor(rag: Client<typeof RagService>, options: { clock: Clock; registry: Registry }) {
    this.#rag = rag;
    this.#clock = options.clock;
    this.#sizes = new Histogram({
      name: "agent_retrieval_batch_size",
      help: "Retrievals that went out in one call.",
      buckets: [1, 2, 4, 8],
      registers: [options.registry],
    });
  }

  /** Rejects as Retrieve does. What it costs is not taken back when the signal aborts: others may share it. */
  async retrieve(request: Retrieval, signal?: AbortSignal): Promise<RetrieveResponse> {
    signal?.throwIfAborted();
    const answer = this.#batchesOf(currentCall()?.identity).add(request);
    const response = await (signal === undefined ? answer : Promise.race([answer, abortOf(signal)]));
    return response();
  }

  /** One batch goes out in the name of one caller: what may be found differs from one to the next. */
  #batchesOf(identity: Identity | undefined): AdaptiveBatches<Retrieval, () => RetrieveResponse> {
    const key = JSON.stringify(identity);
    let batches = this.#callers.get(key);
    if (batches === undefined) {
      for (const [other, { isIdle }] of this.#callers) if (isIdle && this.#callers.size > MAX_CALLERS) this.#callers.delete(other);
      const run = (batch: readonly Retrieval[]) => runBeyondCall(() => this.#run(batch));
      batches = new AdaptiveBatches({ run, clock: this.#clock, onBatch: (size) => this.#sizes.observe(size) });
      this.#callers.set(key, batches);
    }
    return batches;
  }

  async #run(batch: readonly Retrieval[]): Promise<(() => RetrieveResponse)[]> {
    const [only] = batch;
    if (batch.length === 1 && only !== undefined) {
      const response = await this.#rag.retrieve(only);
      return [() => response];
    }
    const keys = batch.map((request) => JSON.stringify(request));
    const distinct = [...new Set(keys)];
    const requests = distinct.map((key) => batch[keys.indexOf(key)] as Retrieval);
    const { outcomes } = await this.#rag.batchRetrieve({ requests: requests as never });
    return keys.map((key) => () => {
      const outcome = outcomes[distinct.indexOf(key)]?.outcome;
      if (outcome?.case === "error") throw fromStatus(outcome.value);
      if (outcome?.case !== "response") throw new Error("the rag service answered fewer retrievals than it was asked for");
      return outcome.value;
    });
  }
}

/** Callers whose arrivals are remembered. */
const MAX_CALLERS = 1_000;

function abortOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
}
