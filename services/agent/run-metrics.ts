import { Gauge, type Registry } from "prom-client";
import type { RunSlots } from "./run-slots.js";

/** How full the replica is: what agents are scaled by. */
export function registerRunMetrics(registry: Registry, slots: RunSlots): void {
  new Gauge({
    name: "agent_runs_in_flight",
    help: "Runs under way on this replica.",
    registers: [registry],
    collect() {
      this.set(slots.taken);
    },
  });
  new Gauge({
    name: "agent_runs_waiting",
    help: "Runs that wait for their turn on this replica.",
    registers: [registry],
    collect() {
      this.set(slots.waiting);
    },
  });
  new Gauge({ name: "agent_runs_limit", help: "Runs that this replica takes at the same time.", registers: [registry] }).set(slots.limit);
}
