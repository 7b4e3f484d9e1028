import { ManualClock } from "../../../tests/manual-clock.js";
import { openMemoryBudgets } from "./store-memory.js";
import { describeBudgetStore } from "./store.suite.js";

describeBudgetStore("memory", async () => {
  const clock = new ManualClock();
  return { store: openMemoryBudgets(clock), pass: (ms) => clock.advance(ms), close: () => Promise.resolve() };
});
