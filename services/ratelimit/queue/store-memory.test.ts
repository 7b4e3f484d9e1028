import { SettableClock } from "../../../tests/settable-clock.js";
import { openMemoryQueues } from "./store-memory.js";
import { describeQueueStore } from "./store.suite.js";

describeQueueStore("memory", async () => {
  const clock = new SettableClock();
  const store = openMemoryQueues(clock);
  return { store, other: store, pass: async (ms) => clock.set(ms), close: () => store.close() };
});
