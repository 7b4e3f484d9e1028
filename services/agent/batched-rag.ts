import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { Histogram, type Registry } from "prom-client";
import type { RagService, RetrieveRequestSchema, RetrieveResponse } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import type { Clock } from "../../runtime/clock.js";
import { fromStatus } from "../../runtime/grpc-status.js";
import { CallerBatches } from "./caller-batches.js";

type Retrieval = MessageInitShape<typeof RetrieveRequestSchema>;

/**
 * The retrievals of runs, those of one caller that come close together in one call to the rag service, which embeds their
 * queries in one call too. Those that ask the same share an answer.
 */
export class BatchedRetrieval {
  readonly #rag: Client<typeof RagService>;
  readonly #batches: CallerBatches<Retrieval, () => RetrieveResponse>;

  constructor(rag: Client<typeof RagService>, options: { clock: Clock; registry: Registry }) {
    this.#rag = rag;
    const sizes = new Histogram({
      name: "agent_retrieval_batch_size",
      help: "Retrievals that went out in one call.",
      buckets: [1, 2, 4, 8],
      registers: [options.registry],
    });
    this.#batches = new CallerBatches({ run: (batch) => this.#run(batch), clock: options.clock, onBatch: (size) => sizes.observe(size) });
  }

  /** Rejects as Retrieve does. What it costs is not taken back when the signal aborts: others may share it. */
  async retrieve(request: Retrieval, signal?: AbortSignal): Promise<RetrieveResponse> {
    return (await this.#batches.add(request, { signal }))();
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
