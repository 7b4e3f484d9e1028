import type { Client } from "@connectrpc/connect";
import type { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { currentTenant, runBeyondCall } from "../../runtime/call-context.js";

/**
 * A collection's epoch as it is now. Those that ask in one turn of the event
 * loop share a call: it begins after all of them asked, so none sees an epoch
 * older than its question. Rejects as rag's GetCollection does.
 */
export class Epochs {
  readonly #rag: Client<typeof RagService>;
  readonly #asked = new Map<string, Promise<bigint>>();

  constructor(rag: Client<typeof RagService>) {
    this.#rag = rag;
  }

  current(collection: string): Promise<bigint> {
    const key = `${currentTenant()} ${collection}`;
    let asked = this.#asked.get(key);
    if (asked === undefined) {
      asked = new Promise<void>((resolve) => setImmediate(resolve)).then(async () => {
        this.#asked.delete(key);
        // Not in the first one's call: that may end before, and others wait too.
        const response = await runBeyondCall(() => this.#rag.getCollection({ collection }));
        return response.collection?.epoch ?? 0n;
      });
      this.#asked.set(key, asked);
    }
    return asked;
  }
}
