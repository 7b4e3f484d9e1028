import { deltaChannelHistoryTests, validate } from "@langchain/langgraph-checkpoint-validation";
import { afterAll, beforeAll, describe } from "vitest";
import { GrpcCheckpointSaver } from "../../clients/checkpoint/index.js";
import type { CheckpointStore } from "../../services/checkpoint/store.js";
import { type CheckpointServer, serveCheckpoints } from "./checkpoint-server.js";

/** LangGraph's own suite for savers, over real gRPC, against a store. Each saver begins with an empty one. */
export function validateSaver(
  name: string,
  open: () => Promise<{ store: CheckpointStore; clear: () => Promise<void> }>,
): void {
  let store: CheckpointStore;
  let clear: () => Promise<void>;
  let server: CheckpointServer;
  const initializer = {
    checkpointerName: name,
    beforeAllTimeout: 60_000,
    async beforeAll() {
      ({ store, clear } = await open());
      server = await serveCheckpoints(store);
    },
    async afterAll() {
      await server.stop();
      await store.close();
    },
    async createCheckpointer() {
      await clear();
      return new GrpcCheckpointSaver({ address: server.address });
    },
    destroyCheckpointer: (saver: GrpcCheckpointSaver) => saver.close(),
  };
  validate(initializer);
  describe(`${name}, delta channels`, () => {
    beforeAll(initializer.beforeAll);
    afterAll(initializer.afterAll);
    deltaChannelHistoryTests(initializer);
  });
}
