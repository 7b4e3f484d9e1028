import type { RunStateUpdate } from "./state.js";

/** What came of a step, for people to read. */
export function summaryOf(name: string, update: RunStateUpdate): string {
  switch (name) {
    case "rewrite":
      return `Understood as: ${String(update.question ?? "")}`;
    case "retrieve":
      return `Found ${counted((update.passages as unknown[] | undefined)?.length ?? 0, "passage")}.`;
    case "answer":
      return "Wrote the answer.";
    default:
      return `Did ${name}.`;
  }
}

function counted(count: number, noun: string): string {
  return `${count === 0 ? "no" : count} ${noun}${count === 1 ? "" : "s"}`;
}
